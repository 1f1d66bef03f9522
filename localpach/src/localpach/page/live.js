// Looking again and again, for as long as a view is shown.

const PAUSE = 2000;
// What is slow to answer is asked less often.
const SHARE = 10;

export function notice(text) {
  const place = document.getElementById("notice");
  if (place.textContent !== text) place.textContent = text;
}

// Looks until `look` gives true or the view is left; what goes wrong is shown, and it is tried again.
export async function live(signal, look) {
  while (!signal.aborted) {
    const began = performance.now();
    if (!document.hidden) {
      try {
        const isOver = await look();
        if (!signal.aborted) notice("");
        if (isOver) return;
      } catch (error) {
        if (signal.aborted || error.isLocked) throw error;
        notice(told(error));
      }
    }
    await pause(Math.max(PAUSE, SHARE * (performance.now() - began)), signal);
  }
}

export function told(error) {
  return error instanceof TypeError ? "localpach does not answer; trying again" : error.message;
}

export function pause(milliseconds, signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, milliseconds);
    signal.addEventListener("abort", () => { clearTimeout(timer); resolve(); }, { once: true });
  });
}
