package keyservice

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// firstPause is how long a call waits before it asks a replica for the second time. It doubles
// with each such wait.
const firstPause = 25 * time.Millisecond

// tooManyKeys is the reason of a RESOURCE_EXHAUSTED that does not pass by itself.
const tooManyKeys = "TOO_MANY_KEYS"

// rules are what differs between Authorize and the admin calls.
type rules struct {
	deadline time.Duration
	// limit is how long an attempt may take, by what is left of the deadline.
	limit func(left time.Duration) time.Duration
	// isRefusal reports whether to ask again does not help, although the question was not wrong.
	isRefusal func(codes.Code) bool
	// mayRepeat reports whether the question may be asked again after this code.
	mayRepeat func(codes.Code) bool
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

	var failed []Attempt
	var tried []string
	pause := firstPause
	c.pool.waitUntilKnown(limited)
	for limited.Err() == nil && len(failed) < c.options.Attempts {
		if len(tried) > 0 && !c.pool.hasUntried(tried) {
			if !sleep(limited, pause) {
				break
			}
			pause *= 2
		}
		r := c.pool.take(tried)
		if r == nil {
			break
		}
		tried = append(tried, r.address)
		err := c.attempt(limited, r, rules, ask)
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
	return c.noAnswer(ctx, limited, rules, failed)
}

// attempt asks one replica, once.
func (c *Client) attempt(ctx context.Context, r *replica, rules rules, ask question) error {
	began := time.Now()
	deadline, _ := ctx.Deadline()
	limit := rules.limit(time.Until(deadline))
	limited, cancel := context.WithTimeout(c.pool.credentials.authenticate(ctx), limit)
	defer cancel()
	err := ask(limited, r)
	// If it was the whole call that ended, this says nothing about the replica. Nor does a time that
	// is shorter than usual. The replica may say itself that time ran out, just before it does here.
	ranOut := limited.Err() != nil || status.Code(err) == codes.DeadlineExceeded
	if err != nil && ranOut && ctx.Err() == nil {
		if status.Convert(err).Message() == context.DeadlineExceeded.Error() {
			err = status.Errorf(codes.DeadlineExceeded, "no answer within %v", limit.Round(time.Millisecond))
		}
		if limit >= c.options.AttemptTimeout {
			r.timedOut(began, failedAttempt(r.address, err))
		}
	}
	c.metrics.attempted(ctx, status.Code(err))
	return err
}

// noAnswer is the error of a call without an answer.
func (c *Client) noAnswer(ctx, limited context.Context, rules rules, failed []Attempt) error {
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
	case len(failed) > 0:
		summary = fmt.Sprintf("%d attempts failed", len(failed))
	}
	return unavailable(summary, lookUps, failed, ended)
}

func failedAttempt(address string, err error) Attempt {
	answer := status.Convert(err)
	return Attempt{address, answer.Code(), oneLine(answer.Message())}
}
