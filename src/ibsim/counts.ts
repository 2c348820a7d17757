// What the server for ibsim's clients counts.

export interface IbsimCounts {
  /** Clients that are attached. */
  clients: number;
  /** Since the start. */
  attached: number;
  refused: number;
  /** Clients that ended without saying so. */
  died: number;
  /** Control datagrams that are none: wrong length or magic, or somebody else's slot. */
  badControl: number;
  /** Control replies that their client had no room for. */
  lostReplies: number;
  /** MADs from and to clients. */
  madsFrom: number;
  madsTo: number;
  /** Datagrams on data sockets that hold no MAD. */
  badMads: number;
  /** Requests that came back because nobody answered, and MADs that a client did not read. */
  timedOut: number;
  unread: number;
}

export const newIbsimCounts = (): IbsimCounts => ({
  clients: 0,
  attached: 0,
  refused: 0,
  died: 0,
  badControl: 0,
  lostReplies: 0,
  madsFrom: 0,
  madsTo: 0,
  badMads: 0,
  timedOut: 0,
  unread: 0,
});
