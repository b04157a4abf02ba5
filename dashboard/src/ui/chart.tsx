import { type ReactNode, useEffect, useId, useMemo, useRef, useState } from "react";
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import { absolute } from "../lib/format";
import { Button } from "./basics";
import css from "./chart.module.css";

export interface Series {
  label: string;
  /** A colour token, e.g. `--ok`. */
  color: string;
  /** Lines differ in their dashes too, not in their colour alone. */
  dash?: number[];
  fill?: boolean;
  values: (number | null)[];
}

export interface ChartProps {
  title: ReactNode;
  /** What the picture shows, in a sentence, for those who do not see it. */
  summary: string;
  at: string[];
  series: Series[];
  format: (value: number) => string;
  height: number;
  /** Fixed ends of the scale; found from the values otherwise. */
  range?: (min: number, max: number) => [number, number];
  empty?: string | null;
}

/** Custom properties may hold any CSS colour function; a canvas wants what it computes to. */
function resolve(token: string): string {
  const probe = document.createElement("span");
  probe.style.color = `var(${token})`;
  document.body.append(probe);
  const color = getComputedStyle(probe).color;
  probe.remove();
  return color;
}

function withAlpha(color: string, alpha: number): string {
  return `color-mix(in oklab, ${color} ${alpha * 100}%, transparent)`;
}

function useThemeVersion(): number {
  const [version, setVersion] = useState(0);
  useEffect(() => {
    const bump = () => setVersion((before) => before + 1);
    const media = matchMedia("(prefers-color-scheme: dark)");
    media.addEventListener("change", bump);
    window.addEventListener("themechange", bump);
    return () => {
      media.removeEventListener("change", bump);
      window.removeEventListener("themechange", bump);
    };
  }, []);
  return version;
}

export default function Chart({ title, summary, at, series, format, height, range, empty }: ChartProps) {
  const host = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  const theme = useThemeVersion();
  const [hovered, setHovered] = useState<number | null>(null);
  const [asTable, setAsTable] = useState(false);
  const tableId = useId();

  const xs = useMemo(() => at.map((each) => Date.parse(each) / 1000), [at]);
  const data = useMemo(() => [xs, ...series.map(({ values }) => values)] as uPlot.AlignedData, [xs, series]);
  const latest = useRef({ data, format, range });
  latest.current = { data, format, range };
  const look = series.map(({ label, color, dash, fill }) => `${label}${color}${dash ?? ""}${fill ?? ""}`).join();

  useEffect(() => {
    const element = host.current;
    if (element === null || asTable) return;
    const ink = resolve("--ink-3");
    const line = resolve("--line");
    const font = `11px ${getComputedStyle(document.body).fontFamily}`;
    const made = new uPlot(
      {
        width: element.clientWidth - 8,
        height,
        padding: [8, 8, 0, 0],
        legend: { show: false },
        cursor: { y: false, points: { size: 7 }, drag: { x: false, y: false } },
        scales: {
          x: { time: true },
          y: {
            range: (_, min, max) => latest.current.range?.(min ?? 0, max ?? 0) ?? [0, Math.max((max ?? 0) * 1.12, 1)],
          },
        },
        axes: [
          { stroke: ink, font, grid: { show: false }, ticks: { show: false }, gap: 6, size: 26, values: timeLabels },
          {
            stroke: ink,
            font,
            size: 52,
            gap: 6,
            space: 34,
            grid: { stroke: line, width: 1 },
            ticks: { show: false },
            values: (_, ticks) => ticks.map((tick) => latest.current.format(tick)),
          },
        ],
        series: [
          {},
          ...series.map(({ label, color, dash, fill }) => {
            const stroke = resolve(color);
            return {
              label,
              stroke,
              width: 1.75,
              dash,
              fill: fill ? withAlpha(stroke, 0.12) : undefined,
              points: { show: false },
              spanGaps: false,
            };
          }),
        ],
        hooks: { setCursor: [(u) => setHovered(u.cursor.idx ?? null)] },
      },
      latest.current.data,
      element,
    );
    plot.current = made;
    const resized = new ResizeObserver(() => made.setSize({ width: element.clientWidth - 8, height }));
    resized.observe(element);
    return () => {
      resized.disconnect();
      made.destroy();
      plot.current = null;
    };
    // The look, not the values: those are set below without making a new plot.
    // eslint-disable-next-line react-hooks/exhaustive-deps
  }, [theme, look, height, asTable]);

  useEffect(() => plot.current?.setData(data), [data]);

  const shown = hovered ?? null;
  return (
    <>
      <div className={css.head}>
        {title}
        <Button small variant="quiet" icon="table" aria-expanded={asTable} aria-controls={tableId} onClick={() => setAsTable(!asTable)}>
          {asTable ? "Chart" : "Table"}
        </Button>
      </div>
      <ul className={css.legend}>
        {series.map(({ label, color, dash, values }) => {
          const value = shown === null ? null : values[shown];
          return (
            <li key={label}>
              <svg width="18" height="8" aria-hidden="true">
                <path d="M1 4h16" stroke={`var(${color})`} strokeWidth="2.5" strokeDasharray={dash?.map((each) => each * 0.8).join(" ")} />
              </svg>
              {label}
              <b>{value === null || value === undefined ? "" : format(value)}</b>
            </li>
          );
        })}
        <li className={css.at}>{shown !== null && at[shown] ? absolute(at[shown]) : "\u00a0"}</li>
      </ul>
      <div id={tableId}>
        {asTable ? (
          <div className={css.table} style={{ height: height - 6 }} tabIndex={0} role="group" aria-label="Values">
            <table>
              <caption className="visually-hidden">{summary}</caption>
              <thead>
                <tr>
                  <th scope="col">From</th>
                  {series.map(({ label }) => <th key={label} scope="col">{label}</th>)}
                </tr>
              </thead>
              <tbody>
                {at.map((each, index) => (
                  <tr key={each}>
                    <th scope="row">{absolute(each)}</th>
                    {series.map(({ label, values }) => {
                      const value = values[index];
                      return <td key={label}>{value === null || value === undefined ? "–" : format(value)}</td>;
                    })}
                  </tr>
                )).reverse()}
              </tbody>
            </table>
          </div>
        ) : (
          <div className={css.plot} style={{ height: height + 10 }} ref={host} role="img" aria-label={summary}>
            {empty && <div className={css.none}>{empty}</div>}
          </div>
        )}
      </div>
    </>
  );
}

/** 14:05, and the day where it changes; always of one height. */
function timeLabels(_: uPlot, ticks: number[], __: number, ___: number, stepSecs: number): string[] {
  let lastDay = "";
  return ticks.map((tick) => {
    const date = new Date(tick * 1000);
    const day = date.toLocaleDateString("en", { day: "numeric", month: "short" });
    const time = `${String(date.getHours()).padStart(2, "0")}:${String(date.getMinutes()).padStart(2, "0")}`;
    if (stepSecs >= 86_400) return day;
    const midnight = time === "00:00" && day !== lastDay;
    lastDay = day;
    return midnight ? day : time;
  });
}
