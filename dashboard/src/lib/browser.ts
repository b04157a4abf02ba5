/** Copies, also where the clipboard API is missing because the page came over plain http. */
export async function copyText(text: string): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const area = document.createElement("textarea");
    area.value = text;
    area.setAttribute("readonly", "");
    area.className = "visually-hidden";
    // Inside an open dialog, so that its focus trap does not take the selection away.
    (document.querySelector("[role=dialog],[role=alertdialog]") ?? document.body).append(area);
    area.select();
    // Deprecated, and the only way without a secure context.
    const done = document.execCommand("copy");
    area.remove();
    return done;
  }
}
