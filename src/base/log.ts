// How the core says something to people: never on the hot path, never more than a few lines a second.

/** Where messages go; the domain connects it to the terminal or a file. */
export interface Log {
  debug(message: string): void;
  info(message: string): void;
  warn(message: string): void;
}

export const silentLog: Log = { debug: () => {}, info: () => {}, warn: () => {} };

/** Passes at most `perSecond` warnings a second and then says how many it kept back; a guest cannot flood the log. */
export function limitWarnings(log: Log, nowNs: () => number, perSecond = 5): Log {
  let windowStartNs = Number.NEGATIVE_INFINITY;
  let inWindow = 0;
  let suppressed = 0;
  return {
    debug: log.debug,
    info: log.info,
    warn: (message) => {
      const now = nowNs();
      if (now - windowStartNs >= 1e9) {
        if (suppressed > 0) log.warn(`${suppressed} similar messages left out`);
        windowStartNs = now;
        inWindow = 0;
        suppressed = 0;
      }
      inWindow++;
      if (inWindow <= perSecond) log.warn(message);
      else suppressed++;
    },
  };
}
