//! Owns the revocation protocol as two explicit-state models, apart from any code that runs it.
//! Promises that every run of real replicas within a scope is a run of both models.
//! Must never assume more about clocks, networks or processes than the service does.
//!
//! # Two models
//!
//! One model of everything would have too many states to visit. So there are two:
//!
//! - [`lease`] knows of a write only its revision. It has several replicas, with their leases, renewals,
//!   waits, clocks and messages. It proves [`LEASES`](lease::Protocol::LEASES): *a replica that may answer
//!   has applied every write that has returned.*
//! - [`contents`] knows what each write adds or takes away, and that it can be given back. It has one
//!   replica, whose memory it follows from change to change, and a database that may lose writes. It
//!   proves that an answer is right, as long as [`LEASES`](lease::Protocol::LEASES) is true.
//!
//! # How they make one proof
//!
//! The second model takes the result of the first as a condition of two steps: a write returns, and a
//! lease begins, only while [`LEASES`](lease::Protocol::LEASES) stays true. Otherwise both may happen at
//! any time. So each run of the first model gives the second one a run that it checks.
//!
//! One replica is enough there. The other replicas affect it in two ways. They write, which is like a
//! caller's write. And a write waits for their leases too, which only removes runs.
//!
//! "Has applied revision r" means in the first model that a number was reached. A number would prove
//! nothing if memory could have the right number and the wrong contents. As long as a key only went from
//! absent to held to revoked, any order of changes led to the same contents. What can be given back needs
//! the order, and so does a key that is widened and narrowed, suspended and resumed: the second model proves
//! that loads, and whole states that are applied in revision order, make memory at revision r equal to the
//! database at r, and that a call sees it so.
//!
//! # What is proved while no write is lost
//!
//! 1. [`SAFE`](contents::Protocol::SAFE): an Authorize never contradicts a write that returned before it
//!    began. More exactly, it sees each thing as some write left it, complete, and there is an order of
//!    the writes that explains what it sees. In this order, the writes to one thing stand as they were
//!    committed, and a write stands after those that returned before it began. The answer stands after
//!    the writes that returned before the call.
//! 2. [`ONE_REVISION`](contents::Protocol::ONE_REVISION): what it sees is the truth at one revision,
//!    from the last that had returned when the call began to the last that was committed when it ended.
//!    There is one exception. The database gives only the last change of each thing. If a thing has
//!    changed twice since the follower last read, its first change is skipped, and until the second one
//!    is applied, memory has the other things' changes that came between. The writes that memory lacks
//!    have not returned then, so the first promise holds.
//!
//! # What is proved after a loss
//!
//! A standby takes over that has missed the last writes. From then on:
//!
//! 3. [`DENIALS_KEPT`](contents::Protocol::DENIALS_KEPT): what a replica denied when it found the loss,
//!    it does not grant until a caller has granted it again since the loss. When it has recovered, the
//!    database denies it too, and so does every replica that renews.
//! 4. [`NO_GRANTS`](contents::Protocol::NO_GRANTS): what a replica writes again never grants more than
//!    the database granted before.
//! 5. Promises 1 and 2 hold for the writes that the database has now, under each lease that it has
//!    granted since the loss. Here the second model assumes [`LEASES`](lease::Protocol::LEASES) of these
//!    leases alone. The first model does not run through a loss, but its result is true of them: all of
//!    their renewals, and all waits for them, meet a database that loses nothing more. The rows that it
//!    has lost, or has in an older state, are of leases from before.
//!
//! What is *not* promised after a loss:
//!
//! - Grants that were lost stay lost.
//! - Until a lease from before the loss ends, its replica answers from what it held, and a write may
//!   return that it does not know.
//! - A lost denial is written again only by a replica that held it. Until then, other replicas grant what
//!   it denied. If no such replica has survived, they continue to.
//! - A replica that finds the loss late writes its denials again even if a caller has granted the same
//!   since the loss. That grant is then undone, as a state of the model shows.
//! - A caller who resumes a key after the loss grants it as it is then, even if a narrowing was lost while
//!   it was suspended. The service has logged that the narrowing was lost.
//! - A second loss is outside the scope.
//! - A key leaves the store long after its revocation. A backup from before that brings it back.

pub mod contents;
pub mod lease;
