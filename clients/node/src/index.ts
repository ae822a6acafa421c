/** Client library of KeyService, which says whether a token may send for a domain. */
export { durationFromMs, durationMs, timestampDate, timestampFromDate } from "@bufbuild/protobuf/wkt";
export type { Denial, DenialReason, Grant, Handlers, Scope } from "./answer.js";
export { KeyServiceClient, type Request } from "./client.js";
export { type Attempt, KeyServiceError, MisusedError, RefusedError, UnavailableError } from "./errors.js";
export type {
  Account,
  GetAccountResponse,
  KeyCounts,
  ResumeAccountResponse,
  SuspendAccountResponse,
} from "./gen/tosend/keys/v1/account_service_pb.js";
export type {
  AddDomainResponse,
  ListDomainsResponse,
  RemoveDomainResponse,
  VerifiedDomain,
} from "./gen/tosend/keys/v1/domain_service_pb.js";
export {
  type BatchRevokeResponse,
  type CreateResponse,
  type GetResponse,
  type Key,
  Key_Status as KeyStatus,
  type ListResponse,
  type ResumeResponse,
  type RevokeResponse,
  type RotateResponse,
  type Scope as KeyScope,
  type SuspendResponse,
  type Suspension,
  type UpdateResponse,
} from "./gen/tosend/keys/v1/key_service_pb.js";
export type { CallOptions, ClientOptions } from "./options.js";
export { VERSION } from "./version.js";
