// How runs of sagas and their steps stand, each with an icon, a word and a tone.
import type { SagaRunState, SagaStepState } from "../api/types";
import { Badge, type Look } from "../ui/status";

export const runLooks: Record<SagaRunState, Look> = {
  running: { tone: "run", icon: "play", label: "Running" },
  waiting: { tone: "warn", icon: "user", label: "Waits for a person" },
  compensating: { tone: "warn", icon: "back", label: "Going back" },
  done: { tone: "ok", icon: "check", label: "Done" },
  compensated: { tone: "idle", icon: "back", label: "Taken back" },
  failed: { tone: "bad", icon: "dead", label: "Failed" },
};

export const stepLooks: Record<SagaStepState, Look> = {
  pending: { tone: "idle", icon: "clock", label: "Pending" },
  running: { tone: "run", icon: "play", label: "Running" },
  unknown: { tone: "warn", icon: "question", label: "Unknown" },
  done: { tone: "ok", icon: "check", label: "Done" },
  failed: { tone: "bad", icon: "cross", label: "Failed" },
  compensating: { tone: "warn", icon: "back", label: "Being undone" },
  compensated: { tone: "idle", icon: "back", label: "Undone" },
  skipped: { tone: "idle", icon: "minus", label: "Skipped" },
};

const unknown = (label: string): Look => ({ tone: "idle", icon: "question", label });

export const RunBadge = ({ state }: { state: SagaRunState }) => <Badge look={runLooks[state] ?? unknown(state)} />;
export const StepBadge = ({ state }: { state: SagaStepState }) => <Badge look={stepLooks[state] ?? unknown(state)} />;
