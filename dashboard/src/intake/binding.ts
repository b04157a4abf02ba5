// A binding as a form has it: pure, so that it can be tested.
import type { Binding, BindingChange, OnDead } from "../api/types";
import { differing, Reader, writeSpan } from "../lib/typed";

const BUILTIN = "builtin:";
/** Handlers that the server brings. */
const builtins = ["billing.record"];

export interface BindingForm {
  pattern: string;
  filter: string;
  /** An endpoint's id, or the name of a built-in handler behind `builtin:`; empty: the first there is. */
  handler: string;
  name: string;
  order: string;
  fallback: string;
  onDead: OnDead;
  /** As a span of time; empty: never. */
  expires: string;
}

const handlerOf = ({ handler }: Binding): string => (handler.kind === "endpoint" ? handler.endpoint_id : BUILTIN + handler.name);

export const bindingForm = (binding?: Binding, endpoint?: { id: string }): BindingForm => ({
  pattern: binding?.type_pattern ?? "*",
  filter: binding?.filter ?? "",
  handler: binding ? handlerOf(binding) : (endpoint?.id ?? ""),
  name: binding?.name ?? "",
  order: binding?.ordering?.key ?? "",
  fallback: binding?.ordering?.fallback ?? "",
  onDead: binding?.ordering?.on_dead ?? "park",
  expires: binding?.expires_in_secs == null ? "" : writeSpan(binding.expires_in_secs * 1_000),
});

/** Where a binding can lead. Where one leads already is always among it. */
export function handlerOptions(endpoints: readonly { id: string; name: string }[], binding?: Binding): { value: string; label: string }[] {
  const options = [
    ...endpoints.map(({ id, name }) => ({ value: id, label: `Endpoint ${name}` })),
    ...builtins.map((name) => ({ value: BUILTIN + name, label: `Built in: ${name}` })),
  ];
  if (binding === undefined || options.some(({ value }) => value === handlerOf(binding))) return options;
  const { handler } = binding;
  return [{ value: handlerOf(binding), label: handler.kind === "endpoint" ? `Endpoint ${handler.endpoint_name}` : `Built in: ${handler.name}` }, ...options];
}

/** 0 is never. */
function secs(span: string): number {
  const read = new Reader();
  const ms = read.span("expires_in_secs", span) ?? 0;
  read.done();
  return Math.ceil(ms / 1_000);
}

/** What is to be said of a binding; of one that exists only what is otherwise than it was. An empty key is no order. */
export function bindingBody(form: BindingForm, was?: Binding): BindingChange {
  const key = form.order.trim();
  const builtin = form.handler.startsWith(BUILTIN);
  const wanted: BindingChange = {
    name: form.name.trim() || undefined,
    type_pattern: form.pattern.trim(),
    filter: form.filter.trim(),
    handler: builtin ? { kind: "builtin", name: form.handler.slice(BUILTIN.length) } : { kind: "endpoint", endpoint_id: form.handler },
    ordering: key === "" ? { key } : { key, fallback: form.fallback.trim() || undefined, on_dead: form.onDead },
    expires_in_secs: secs(form.expires),
  };
  if (was === undefined) return { ...wanted, filter: wanted.filter || undefined, ordering: key === "" ? undefined : wanted.ordering, expires_in_secs: wanted.expires_in_secs || undefined };
  return differing<BindingChange>(bindingBody(bindingForm(was)), { ...wanted, filter: wanted.filter === "" && !was.filter ? undefined : wanted.filter, ordering: key === "" && !was.ordering ? undefined : wanted.ordering, expires_in_secs: wanted.expires_in_secs || (was.expires_in_secs ? 0 : undefined) });
}
