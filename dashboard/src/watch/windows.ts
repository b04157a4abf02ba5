import type { Window } from "../api/types";

export const windows = ["1h", "24h", "7d"] as const;
export const windowWords: Record<Window, string> = { "1h": "last hour", "24h": "last 24 hours", "7d": "last 7 days" };
