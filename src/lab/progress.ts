// What a long operation tells whoever draws it.

/** One piece of news. `step` is stable while one thing is being done; `fraction` is 0..1 where it can be known. */
export interface ProgressEvent {
  readonly step: string;
  readonly detail?: string;
  readonly fraction?: number;
}

export type Progress = (event: ProgressEvent) => void;

export const silentProgress: Progress = () => {};
