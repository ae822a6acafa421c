/** One call: its attempts on different replicas, its deadline, and what the codes mean. */
import { setTimeout as sleep } from "node:timers/promises";
import { type DescMessage, type DescMethodUnary, fromBinary, type MessageShape } from "@bufbuild/protobuf";
import { anyUnpack } from "@bufbuild/protobuf/wkt";
import * as grpc from "@grpc/grpc-js";
import type { Credentials } from "./credentials.js";
import { type Attempt, MisusedError, RefusedError, UnavailableError } from "./errors.js";
import { ErrorInfoSchema, ResourceInfoSchema } from "./gen/error_details_pb.js";
import { StatusSchema } from "./gen/google/rpc/status_pb.js";
import type { Metrics } from "./metrics.js";
import type { Pool } from "./pool.js";
import type { Reply } from "./replica.js";
import type { Slots } from "./slots.js";

/** The pauses before a replica is asked again. The last one is for all that follow. */
const PAUSES_MILLIS = [25, 50, 100] as const;

/** A replica that does not answer in less is not taken for one that hangs: any may be as busy for a moment. */
const TELLING_MILLIS = 30;

const { status } = grpc;

/** The question was wrong. */
const MISUSED = [status.INVALID_ARGUMENT, status.UNAUTHENTICATED, status.PERMISSION_DENIED];

/** After one of these, another attempt of an admin call may succeed. */
const TRANSIENT = [
  status.UNAVAILABLE,
  status.DEADLINE_EXCEEDED,
  status.INTERNAL,
  status.UNKNOWN,
  status.CANCELLED,
  status.RESOURCE_EXHAUSTED,
];

/** A limit of the account and not of the replica: the one RESOURCE_EXHAUSTED that lasts. */
const TOO_MANY_KEYS = "TOO_MANY_KEYS";

/** What a call needs of its client. */
export interface Connections {
  readonly pool: Pool;
  readonly credentials: Credentials;
  readonly metrics: Metrics;
}

/** A question, and within which bounds it is asked. */
export interface Question<Output extends DescMessage, Answer> {
  readonly method: DescMethodUnary<DescMessage, Output>;
  readonly request: Uint8Array;
  readonly deadlineMillis: number;
  readonly maxAttempts: number;
  /** Shared by calls of the same kind. */
  readonly slots: Slots;
  /** The usual time of an attempt. */
  readonly attemptMillis: number;
  /** Whether codes other than the misused ones can be final, and the call may wait for a replica that restarts. */
  readonly isAdmin: boolean;
  readonly signal: AbortSignal | undefined;
  /** Takes the answer out of the response. Undefined: there is none, so the attempt has failed. */
  read(response: MessageShape<Output>): Answer | undefined;
}

/**
 * Asks until there is an answer. Throws one of the library's errors, or the reason of
 * the signal. Nothing here takes longer than the deadline.
 */
export async function ask<Output extends DescMessage, Answer>(
  { pool, credentials, metrics }: Connections,
  question: Question<Output, Answer>,
): Promise<Answer> {
  const { method, signal } = question;
  const path = `/${method.parent.typeName}/${method.name}`;
  const request = Buffer.from(question.request);
  const start = performance.now();
  const left = (): number => question.deadlineMillis - (performance.now() - start);
  const asked = new Set<string>();
  const failed: Attempt[] = [];
  // Half of a short deadline, so that a second replica is asked if the first one hangs.
  const wholeMillis = Math.min(question.attemptMillis, question.deadlineMillis / 2);
  let pauses = 0;

  while (failed.length < question.maxAttempts) {
    await pool.waitUntil(() => pool.hasRoom, left(), signal);
    if (pool.mustRepeat(asked)) {
      const pause = PAUSES_MILLIS[Math.min(pauses, PAUSES_MILLIS.length - 1)] ?? 0;
      pauses += 1;
      await sleep(Math.max(0, Math.min(pause, left())), undefined, { signal }).catch(() => undefined);
      if (question.isAdmin) {
        // At most half of what is left, so that there is time to ask one that is not ready.
        await pool.waitUntil(() => pool.isReady, left() / 2, signal);
      }
    }
    const attempt = await question.slots.use(left(), signal, async () => {
      const replica = pool.next(asked);
      const leftMillis = left();
      if (replica === undefined || leftMillis <= 0 || signal?.aborted) {
        return undefined;
      }
      const { address } = replica.place;
      asked.add(address);
      const millis = question.isAdmin ? leftMillis / 2 : Math.min(wholeMillis, leftMillis);
      const isCutShort = millis < Math.max(wholeMillis, TELLING_MILLIS);
      return { address, reply: await replica.ask(path, request, credentials.metadata, millis, isCutShort, signal) };
    });
    signal?.throwIfAborted();
    if (attempt === undefined) {
      if (left() > 0 && pool.isKnown && !pool.hasRoom) {
        continue; // While this call waited for a slot, others have used up the room.
      }
      break;
    }
    const { address, reply } = attempt;
    const answer = answerIn(reply, question);
    const code = reply.code === status.OK && answer === undefined ? "INTERNAL" : codeName(reply.code);
    metrics.attemptEnded(code);
    if (answer !== undefined) {
      return answer;
    }
    throwIfFinal(reply, question.isAdmin);
    failed.push({ address, code, message: reply.message || "the answer cannot be understood" });
  }
  const what = `no replica answered within ${Math.round(performance.now() - start)} ms`;
  if (failed.length > 0) {
    throw new UnavailableError(what, failed);
  }
  throw pool.isKnown
    ? new UnavailableError(`${what}, as too many other calls were in flight`, [])
    : new UnavailableError(`${what}, as no address is known`, pool.failedLookUps);
}

function answerIn<Output extends DescMessage, Answer>(
  { code, body }: Reply,
  { method, read }: Question<Output, Answer>,
): Answer | undefined {
  if (code !== status.OK || body === undefined) {
    return undefined;
  }
  try {
    return read(fromBinary(method.output, body));
  } catch {
    return undefined; // The body is not such a message.
  }
}

function throwIfFinal(reply: Reply, isAdmin: boolean): void {
  if (MISUSED.includes(reply.code)) {
    throw new MisusedError(reply.message, codeName(reply.code));
  }
  if (isAdmin && reply.code !== status.OK) {
    const { reason, resourceName } = detailsOf(reply);
    if (!TRANSIENT.includes(reply.code) || reason === TOO_MANY_KEYS) {
      throw new RefusedError(codeName(reply.code), reply.message, reason, resourceName);
    }
  }
}

interface Details {
  reason?: string | undefined;
  resourceName?: string | undefined;
}

function detailsOf(reply: Reply): Details {
  const found: Details = {};
  try {
    for (const detail of fromBinary(StatusSchema, reply.details ?? Buffer.of()).details) {
      found.reason ??= anyUnpack(detail, ErrorInfoSchema)?.reason;
      found.resourceName ??= anyUnpack(detail, ResourceInfoSchema)?.resourceName;
    }
  } catch {
    // Details that cannot be read are left out.
  }
  return found;
}

function codeName(code: grpc.status): string {
  return status[code] ?? String(code);
}
