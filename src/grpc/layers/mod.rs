//! The layers around the services. `server` stacks them and says why each stands where it does.

mod authenticate;
mod call_span;
mod cancelled;
mod deadline;
mod dispatch;
mod header_size;
mod in_flight;
mod message_limits;
mod messages;
mod read_ahead;
mod refused;
mod request_body;
mod stream_answer;
mod unauthenticated;
mod unreadable;
mod until_end;

pub use authenticate::bearer;
pub(super) use authenticate::{Authenticate, CallerNow};
pub(super) use call_span::CallSpan;
pub(super) use cancelled::named;
pub(super) use deadline::Deadline;
pub(super) use deadline::answer_deadline;
pub use deadline::patience;
pub(super) use dispatch::{Dispatch, Questions};
pub(super) use header_size::HeaderSize;
pub use in_flight::{InFlight, new_counts};
pub(super) use message_limits::{LargeMessage, MessageLimits, Patience};
pub(super) use messages::PREFIX_SIZE;
pub(super) use request_body::RequestBody;
pub(super) use unreadable::{Unreadable, unreadable};
