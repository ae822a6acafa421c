package keyservice

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// A call waits for the first pause before it asks a replica for the second time. The pauses double
// from the first to the last.
const (
	firstPause = 25 * time.Millisecond
	lastPause  = 100 * time.Millisecond

	// A replica that does not answer in less is not taken for one that hangs: any may be as busy for a moment.
	leastTelling = 30 * time.Millisecond
)

// tooManyKeys is the reason of a RESOURCE_EXHAUSTED that does not pass by itself.
const tooManyKeys = "TOO_MANY_KEYS"

// rules are what differs between Authorize and the admin calls.
type rules struct {
	deadline time.Duration
	// isRefusal reports whether to ask again does not help, although the question was not wrong.
	isRefusal func(codes.Code) bool
	// mayRepeat reports whether the question may be asked again after this code.
	mayRepeat func(codes.Code) bool
	// isAdmin reports whether the call may wait for a replica that restarts, whether its attempts may
	// take half of what is left, and whether they need no slot.
	isAdmin bool
}

// question is sent to one replica, and keeps the answer itself.
type question func(context.Context, *replica) error

// ask makes the attempts of one call, until one has an answer.
func (c *Client) ask(ctx context.Context, rules rules, ask question) error {
	if !c.begin() {
		return errClosed
	}
	defer c.calls.Done()
	limited, cancel := context.WithTimeout(ctx, rules.deadline)
	defer cancel()
	// Half of a short deadline: a second replica is asked if the first one hangs.
	deadline, _ := limited.Deadline()
	whole := min(c.options.AttemptTimeout, time.Until(deadline)/2)

	var failed []Attempt
	var tried []string
	crowded := false
	pause := firstPause
	c.pool.waitUntilKnown(limited)
	for limited.Err() == nil && len(failed) < c.options.Attempts {
		r := c.pool.take(tried)
		if r != nil && slices.Contains(tried, r.address) {
			c.pool.done(r)
			if !sleep(limited, pause) {
				break
			}
			pause = min(2*pause, lastPause)
			if rules.isAdmin {
				c.waitForReplica(limited)
			}
			r = c.pool.take(tried)
		}
		if r == nil {
			break
		}
		if !rules.isAdmin && !r.enter(limited) {
			crowded = true
			c.pool.done(r)
			continue
		}
		tried = append(tried, r.address)
		err := c.attempt(limited, r, rules, whole, ask)
		c.pool.done(r)
		if err == nil {
			return nil
		}
		if errors.Is(ctx.Err(), context.Canceled) {
			break
		}
		answer := status.Convert(err)
		switch code := answer.Code(); {
		case code == codes.InvalidArgument || code == codes.Unauthenticated || code == codes.PermissionDenied:
			return &MisusedError{code, oneLine(answer.Message())}
		case rules.isRefusal(code) || refused(answer).Reason == tooManyKeys:
			return refused(answer)
		}
		failed = append(failed, failedAttempt(r.address, err))
		if !rules.mayRepeat(answer.Code()) {
			return &UnavailableError{Summary: "the outcome is not known, and this call must not be repeated", Attempts: failed}
		}
	}
	return c.noAnswer(ctx, limited, rules, failed, crowded)
}

// waitForReplica waits until a replica is ready, for at most half of what is left, so that there is
// time to ask one that is not.
func (c *Client) waitForReplica(ctx context.Context) {
	deadline, _ := ctx.Deadline()
	limited, cancel := context.WithTimeout(ctx, time.Until(deadline)/2)
	defer cancel()
	_ = c.pool.waitUntilReady(limited)
}

// attempt asks one replica, once. A replica that does not answer in the whole time of an attempt
// hangs.
func (c *Client) attempt(ctx context.Context, r *replica, rules rules, whole time.Duration, ask question) error {
	began := time.Now()
	deadline, _ := ctx.Deadline()
	left := time.Until(deadline)
	limit := min(left, whole)
	if rules.isAdmin {
		limit = left / 2
	}
	limited, cancel := context.WithTimeout(c.pool.credentials.authenticate(ctx), limit)
	defer cancel()
	err := ask(limited, r)
	// If it was the whole call that ended, this says nothing about the replica. Nor does a time that
	// the call's deadline has cut short. The replica may say itself that time ran out, just before it does here.
	ranOut := err != nil && (limited.Err() != nil || status.Code(err) == codes.DeadlineExceeded)
	if ranOut && ctx.Err() == nil {
		if status.Convert(err).Message() == context.DeadlineExceeded.Error() {
			err = status.Errorf(codes.DeadlineExceeded, "no answer within %v", limit.Round(time.Millisecond))
		}
		if limit >= max(whole, leastTelling) {
			r.timedOut(began, failedAttempt(r.address, err))
		}
	}
	if !rules.isAdmin {
		r.leave(ranOut)
	}
	c.metrics.attempted(ctx, status.Code(err))
	return err
}

// noAnswer is the error of a call without an answer.
func (c *Client) noAnswer(ctx, limited context.Context, rules rules, failed []Attempt, crowded bool) error {
	ended := limited.Err()
	if errors.Is(ended, context.Canceled) {
		return cancelled(ended)
	}
	var lookUps error
	if len(failed) == 0 {
		_, lookUps = c.pool.troubles()
	}
	summary := "no replica is known"
	switch {
	case ended != nil && ctx.Err() != nil:
		summary = "the context's deadline passed"
	case ended != nil:
		summary = fmt.Sprintf("no answer within %v", rules.deadline)
		if len(failed) == 0 && crowded {
			summary += ", as too many other calls were in flight"
		}
	case len(failed) > 0:
		summary = fmt.Sprintf("%d attempts failed", len(failed))
	}
	return unavailable(summary, lookUps, failed, ended)
}

func failedAttempt(address string, err error) Attempt {
	answer := status.Convert(err)
	return Attempt{address, answer.Code(), oneLine(answer.Message())}
}
