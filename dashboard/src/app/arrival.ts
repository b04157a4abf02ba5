// Arriving on a page: its heading gets the focus, so that it is announced and the keyboard begins there.
let waiting = false;

/** To be called when the address has changed. A page that is still being loaded takes the focus when it is there. */
export function arrive(): void {
  const heading = document.querySelector<HTMLElement>("main h1");
  if (heading) heading.focus({ preventScroll: true });
  waiting = heading === null;
}

/** To be called by a heading that appears. */
export function headingThere(heading: HTMLElement | null): void {
  if (!waiting || heading === null) return;
  waiting = false;
  heading.focus({ preventScroll: true });
}
