import "./app/base.css";
import { applyTheme, storedTheme } from "./lib/theme";

applyTheme(storedTheme());

import { QueryClient, QueryClientProvider } from "@tanstack/react-query";
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { shouldRetry } from "./api/queries";
import { App } from "./app/app";

const queryClient = new QueryClient({
  defaultOptions: {
    queries: {
      // The stream says when something is old; coming back to the window changes nothing by itself.
      refetchOnWindowFocus: false,
      staleTime: 1_000,
      gcTime: 60_000,
      retry: shouldRetry,
      // The server being unreachable is for the pages to say, not to wait out in silence.
      networkMode: "always",
    },
    mutations: { networkMode: "always", retry: false },
  },
});

createRoot(document.getElementById("root")!).render(
  <StrictMode>
    <QueryClientProvider client={queryClient}>
      <App />
    </QueryClientProvider>
  </StrictMode>,
);
