/**
 * The messages of admin calls: requests are checked before they are sent, and tokens
 * in answers are kept from being printed.
 */
import {
  clone,
  create,
  type DescField,
  type DescMessage,
  type Message,
  type MessageInitShape,
  type MessageShape,
  toBinary,
  toJson,
} from "@bufbuild/protobuf";
import { isReflectList, isReflectMessage, reflect } from "@bufbuild/protobuf/reflect";
import { MisusedError } from "./errors.js";

/**
 * Serialises a request. Throws `MisusedError` for a field that does not exist, and for
 * one that is undefined or null: without a filter, or without the domain of a key, a
 * call does more than its caller meant.
 */
export function encode<Desc extends DescMessage>(desc: Desc, request: MessageInitShape<Desc>): Uint8Array {
  checkFields(desc, request);
  try {
    return toBinary(desc, create(desc, request));
  } catch {
    // The error of protobuf may show the value, which may be a token.
    throw new MisusedError(`${desc.name}: a field has a value of the wrong type`);
  }
}

function checkFields(desc: DescMessage, given: unknown): void {
  if (typeof given !== "object" || given === null || ![Object.prototype, null].includes(Object.getPrototypeOf(given))) {
    throw new MisusedError(`${desc.name}: this must be a plain object. Of a Date, timestampFromDate makes one`);
  }
  for (const [name, value] of Object.entries(given)) {
    if (name.startsWith("$")) {
      continue; // What protobuf adds to a message.
    }
    const member = desc.members.find(({ localName }) => localName === name);
    if (member === undefined) {
      throw new MisusedError(`${desc.name}: there is no field of the name ${JSON.stringify(name)}`);
    }
    if (value === undefined || value === null) {
      throw new MisusedError(`${desc.name}: ${name} is ${value}. If you mean to leave it out, do not name it`);
    }
    if (member.kind === "oneof") {
      const field = member.fields.find(({ localName }) => localName === value.case);
      if (field?.message !== undefined) {
        checkFields(field.message, value.value);
      }
    } else if (member.fieldKind === "message") {
      checkFields(member.message, value);
    }
  }
}

/**
 * Prepares an answer for its reader. A field that the proto marks as `debug_redact`
 * can be read by its name, but neither `util.inspect` nor `JSON.stringify` shows it.
 * `JSON.stringify` writes protobuf's JSON: it could not write a bigint.
 */
export function prepare<Desc extends DescMessage>(desc: Desc, answer: MessageShape<Desc>): MessageShape<Desc> {
  forEachMessage(desc, answer, (desc, message) => {
    for (const { localName } of redactedFields(desc)) {
      const value = (message as unknown as Record<string, unknown>)[localName];
      Object.defineProperty(message, localName, { get: () => value, enumerable: false });
    }
    Object.defineProperty(message, "toJSON", { value: () => toJson(desc, withoutRedacted(desc, message)) });
  });
  return answer;
}

function withoutRedacted(desc: DescMessage, message: Message): Message {
  const copy = clone(desc, message);
  forEachMessage(desc, copy, (desc, message) => {
    for (const field of redactedFields(desc)) {
      reflect(desc, message).clear(field);
    }
  });
  return copy;
}

function redactedFields(desc: DescMessage): DescField[] {
  return desc.fields.filter((field) => field.proto.options?.debugRedact);
}

/** Visits a message and all that are in it. No answer has messages in a map. */
function forEachMessage(
  desc: DescMessage,
  message: Message,
  visit: (desc: DescMessage, message: Message) => void,
): void {
  visit(desc, message);
  const fields = reflect(desc, message);
  for (const field of desc.fields) {
    const value: unknown = fields.isSet(field) ? fields.get(field) : undefined;
    for (const item of isReflectList(value) ? value : [value]) {
      if (isReflectMessage(item)) {
        forEachMessage(item.desc, item.message, visit);
      }
    }
  }
}
