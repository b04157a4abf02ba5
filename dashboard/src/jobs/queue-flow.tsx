import { useMutation, useQueryClient } from "@tanstack/react-query";
import { client, unwrap } from "../api/client";
import type { Queue } from "../api/types";
import { Button } from "../ui/basics";
import { useToast } from "../ui/toast";
import { called } from "./queues";
import css from "./queues.module.css";

type Wish = "pause" | "resume" | "drain";

const said: Record<Wish, (queue: string) => string> = {
  pause: (queue) => `Nothing more of ${queue} is started`,
  resume: (queue) => `${queue} runs again`,
  drain: (queue) => `${queue} works off what is there; what comes later waits`,
};

/** Whether a queue runs, to be changed. What goes wrong is said where there is room for it. */
export function QueueFlowButtons({ queue, onError }: { queue: Queue; onError: (error: unknown) => void }) {
  const queryClient = useQueryClient();
  const say = useToast();
  const wish = useMutation({
    mutationFn: (what: Wish) => {
      const path = { params: { path: { name: queue.name } } };
      onError(null);
      switch (what) {
        case "pause":
          return unwrap(client.POST("/v1/queues/{name}/pause", path));
        case "resume":
          return unwrap(client.POST("/v1/queues/{name}/resume", path));
        case "drain":
          return unwrap(client.POST("/v1/queues/{name}/drain", path));
      }
    },
    onSuccess: (_, what) => say(said[what](called(queue))),
    onError,
    onSettled: () => queryClient.invalidateQueries({ queryKey: ["queues"] }),
  });
  const button = (what: Wish, label: string, icon: "pause" | "play" | "minus", title: string) => (
    <Button small icon={icon} disabled={wish.isPending} title={title} aria-label={`${label} ${called(queue)}`} onClick={() => wish.mutate(what)}>
      {label}
    </Button>
  );
  return (
    <span className={css.flow}>
      {queue.flow === "running" ? (
        <>
          {button("pause", "Pause", "pause", "Nothing more is started; what runs comes to its end")}
          {button("drain", "Drain", "minus", "What is there runs to its end; what comes later waits")}
        </>
      ) : (
        button("resume", "Resume", "play", "Its jobs are started again")
      )}
    </span>
  );
}
