import react from "@vitejs/plugin-react";
import { defineConfig } from "vitest/config";

// Where `npm run dev` and `npm run preview` send the API: the fake one unless a real server is named.
const api = process.env.MAINSTAY_API ?? "http://127.0.0.1:4501";
const proxy = Object.fromEntries(
  ["/v1", "/signin", "/signout", "/in"].map((path) => [path, { target: api, changeOrigin: false }]),
);

// The policy that the server sends with the page. Preview sends it too, so that the browser tests fail on a violation.
export const contentSecurityPolicy = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self'",
  "connect-src 'self'",
  "form-action 'self'",
  "base-uri 'none'",
  "frame-ancestors 'none'",
].join("; ");

export default defineConfig({
  plugins: [
    react(),
    {
      // The chosen theme is applied by the entry module. Without this attribute the first frame could be painted
      // in the other theme.
      name: "entry-blocks-rendering",
      transformIndexHtml: {
        order: "post",
        handler: (html) => html.replace('<script type="module"', '<script type="module" blocking="render"'),
      },
    },
  ],
  base: "/",
  build: {
    target: "es2022",
    // `data:` URLs would need a wider policy.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: true,
    rolldownOptions: {
      output: {
        // React and friends change seldom: a chunk of their own stays cached over releases.
        codeSplitting: {
          groups: [{ name: "vendor", test: /node_modules[\\/](react|react-dom|scheduler|@tanstack|wouter|openapi-fetch|regexparam|mitt|use-sync-external-store)[\\/]/ }],
        },
      },
    },
  },
  server: { proxy },
  preview: {
    proxy,
    headers: { "Content-Security-Policy": contentSecurityPolicy },
  },
  test: {
    environment: "happy-dom",
    include: ["src/**/*.test.{ts,tsx}"],
    css: { modules: { classNameStrategy: "non-scoped" } },
  },
});
