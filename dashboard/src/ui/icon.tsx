// 16 px, 1.5 px strokes, drawn for this page. An icon never stands alone for a meaning: a word or a label is beside it.
const paths = {
  overview: "M2 12.5h2.5l2-8 3 7 1.8-4 1 2H14",
  events: "M8 1.8v6.7m0 0 2.8-2.8M8 8.5 5.2 5.7M2 9.5v3.7h12V9.5",
  jobs: "M2.5 4h11M2.5 8h11M2.5 12h6.5",
  dead: "M2.2 4.7 8 1.8l5.8 2.9v6.6L8 14.2l-5.8-2.9zM6 6l4 4m0-4-4 4",
  sources: "M1.8 8h5.7m0 0L5.2 5.7M7.5 8l-2.3 2.3M8.5 2.5h5v11h-5",
  endpoints: "M8.5 8h5.7m0 0-2.3-2.3M14.2 8l-2.3 2.3M7.5 2.5h-5v11h5",
  settings: "M2 4.5h7m3 0h2M2 11.5h2m3 0h7M10.5 2.8v3.4M5.5 9.8v3.4",
  check: "m3 8.5 3.2 3.2L13 4.8",
  cross: "m4 4 8 8m0-8-8 8",
  clock: "M8 4.5V8l2.3 1.6M14.2 8A6.2 6.2 0 1 1 1.8 8a6.2 6.2 0 0 1 12.4 0Z",
  calendar: "M2.5 3.5h11v10h-11zM2.5 6.5h11M5.5 2v2.5M10.5 2v2.5",
  play: "M5 3.2v9.6L12.8 8z",
  retry: "M13.5 8A5.5 5.5 0 1 1 11.6 3.8M13.5 1.8v3.4h-3.4",
  warning: "M8 2 1.7 13.2h12.6zM8 6.5v3M8 11.3v.2",
  info: "M8 7.2v4M8 4.9v.2M14.2 8A6.2 6.2 0 1 1 1.8 8a6.2 6.2 0 0 1 12.4 0Z",
  minus: "M3.5 8h9",
  plus: "M8 3v10M3 8h10",
  copy: "M5.5 5.5h8v8h-8zM3 10.5H2.5v-8h8V3",
  search: "M7 12a5 5 0 1 0 0-10 5 5 0 0 0 0 10Zm3.7-1.3 3.3 3.3",
  chevron: "m6 3.5 4.5 4.5L6 12.5",
  down: "m3.5 6 4.5 4.5L12.5 6",
  back: "M13.5 8h-11m0 0L6.5 4M2.5 8l4 4",
  external: "M9.5 2.5h4v4M13.3 2.7 7.5 8.5M7 3H2.5v10.5H13V9",
  more: "M3.5 8h.1M8 8h.1M12.5 8h.1",
  shield: "M8 1.8 13.2 4v4c0 3.2-2.2 5.3-5.2 6.3C5 13.3 2.8 11.2 2.8 8V4zM5.8 8l1.6 1.6 2.9-3",
  question: "M6 6a2 2 0 1 1 2.8 1.9c-.5.2-.8.6-.8 1.1v.3M8 11.3v.2M14.2 8A6.2 6.2 0 1 1 1.8 8a6.2 6.2 0 0 1 12.4 0Z",
  broken: "M2 8h3.5M10.5 8H14M5.5 5v6M10.5 5v6",
  half: "M2 8h3.5M10.5 8H14M5.5 5.5v5M10.5 5.5v5M7.5 8h.2M8.8 8h.2",
  sun: "M8 10.8a2.8 2.8 0 1 0 0-5.6 2.8 2.8 0 0 0 0 5.6ZM8 1.5v1.2M8 13.3v1.2M1.5 8h1.2M13.3 8h1.2M3.4 3.4l.9.9M11.7 11.7l.9.9M12.6 3.4l-.9.9M4.3 11.7l-.9.9",
  moon: "M13.5 9.7A5.8 5.8 0 0 1 6.3 2.5a5.8 5.8 0 1 0 7.2 7.2Z",
  screen: "M2 3h12v8H2zM5.5 13.5h5M8 11v2.5",
  key: "M9.3 6.7a3.1 3.1 0 1 0-2.6 1.5m0 0L2 13M4 11l1.5 1.5M8 7",
  user: "M8 7.8a2.7 2.7 0 1 0 0-5.4 2.7 2.7 0 0 0 0 5.4ZM2.8 13.7c.5-2.5 2.5-4 5.2-4s4.7 1.5 5.2 4",
  signout: "M6.5 2.5h-4v11h4M6.5 8h7.2m0 0-2.5-2.5M13.7 8l-2.5 2.5",
  trash: "M2.5 4h11M6 4V2.3h4V4M4 4l.6 9.7h6.8L12 4M6.7 6.8v4M9.3 6.8v4",
  download: "M8 2v8m0 0 3-3M8 10 5 7M2.5 13.5h11",
  filter: "M2 3.5h12L9.5 8.7v4.5l-3-1.5v-3z",
  request: "M2 3.5h12v9H2zM2 4l6 4.5L14 4",
  pause: "M5.5 3.5v9M10.5 3.5v9",
  saga: "M3 3.5h6M3 8h6M3 12.5h6M11.5 12.5a4.5 4.5 0 0 0 0-9m0 0 1.5-1.5m-1.5 1.5L13 5",
  table: "M2 3h12v10H2zM2 6.3h12M2 9.7h12M6.5 3v10",
} as const;

export type IconName = keyof typeof paths;

export function Icon({ name, size = 16, className }: { name: IconName; size?: number; className?: string }) {
  return (
    <svg
      viewBox="0 0 16 16"
      width={size}
      height={size}
      fill="none"
      stroke="currentColor"
      strokeWidth={name === "more" ? 2.4 : 1.5}
      strokeLinecap="round"
      strokeLinejoin="round"
      aria-hidden="true"
      className={className}
    >
      <path d={paths[name]} />
    </svg>
  );
}
