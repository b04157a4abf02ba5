// A run of a saga as a picture: its steps from top to bottom, and on the right the way back.
import type { SagaRunStep, SagaShape } from "../api/types";
import { stepLooks } from "./looks";
import css from "./graph.module.css";

const WIDTH = 460;
const BOX = { x: 8, width: 300, height: 52 };
const GAP = 30;
const RIGHT = BOX.x + BOX.width;
const BACK_X = RIGHT + 44;

const top = (index: number): number => 8 + index * (BOX.height + GAP);
const middle = (index: number): number => top(index) + BOX.height / 2;

/** What a step is, beside how it stands. */
function kind({ approval, compensation, lookup }: SagaShape): string {
  if (approval) return "a person approves";
  const parts = [compensation && "can be undone", lookup && "can be looked up"].filter(Boolean);
  return parts.join(", ");
}

const undone = (step: SagaRunStep | undefined): boolean => step?.state === "compensating" || step?.state === "compensated";

export function RunGraph({ shape, steps }: { shape: SagaShape[]; steps: SagaRunStep[] }) {
  const height = top(shape.length) - GAP + 8;
  const told = shape.map(({ name }, index) => `${name}: ${word(steps[index])}`).join("; ");
  return (
    <svg className={css.graph} viewBox={`0 0 ${WIDTH} ${height}`} role="img" aria-label={`The steps of this run. ${told}`}>
      {shape.slice(1).map(({ name }, index) => {
        const begun = steps[index + 1]?.started_at != null;
        const [from, to] = [top(index) + BOX.height, top(index + 1)];
        const x = BOX.x + 28;
        return (
          <g key={name}>
            <path className={css.line} data-taken={begun} d={`M${x} ${from}V${to - 6}`} />
            {begun && <path className={css.head} d={`M${x - 4} ${to - 7}h8l-4 7z`} />}
          </g>
        );
      })}
      <Back shape={shape} steps={steps} />
      {shape.map((one, index) => {
        const step = steps[index];
        const look = stepLooks[step?.state ?? "pending"];
        return (
          <g key={one.name} className={css.step} data-tone={look.tone} data-state={step?.state}>
            <rect className={css.box} x={BOX.x} y={top(index)} width={BOX.width} height={BOX.height} rx={8} />
            <text className={css.name} x={BOX.x + 16} y={top(index) + 22}>{clipped(one.name, 34)}</text>
            <text className={css.word} x={BOX.x + 16} y={top(index) + 40}>
              {[word(step), ahead(step) && kind(one)].filter(Boolean).join(" · ")}
            </text>
          </g>
        );
      })}
    </svg>
  );
}

/** From each step that is undone, or is to be, to the one before it that is. */
function Back({ shape, steps }: { shape: SagaShape[]; steps: SagaRunStep[] }) {
  const back = shape.map((_, index) => index).filter((index) => undone(steps[index]));
  return (
    <>
      {back.map((index, at) => {
        const y = middle(index);
        const before = back[at - 1];
        const to = before === undefined ? y - BOX.height / 2 - 4 : middle(before);
        return (
          <g key={shape[index]!.name}>
            <path className={css.line} d={`M${RIGHT} ${y}H${BACK_X}V${to}`} />
            <path className={css.head} d={`M${BACK_X - 4} ${to + 7}h8l-4 -7z`} />
            <text className={css.word} x={BACK_X + 10} y={y + 4}>{steps[index]!.state === "compensated" ? "undone" : "undoing"}</text>
          </g>
        );
      })}
    </>
  );
}

function word(step: SagaRunStep | undefined): string {
  if (!step) return "pending";
  const label = stepLooks[step.state]?.label.toLowerCase() ?? step.state;
  return step.uncertain && step.state !== "unknown" ? `${label}, may not have been done` : label;
}

/** Whether what a step is says something that its state does not. */
const ahead = (step: SagaRunStep | undefined): boolean => !step || step.state === "pending" || step.state === "running";

const clipped = (text: string, most: number): string => (text.length > most ? `${text.slice(0, most - 1)}…` : text);
