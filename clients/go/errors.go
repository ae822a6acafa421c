package keyservice

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"google.golang.org/genproto/googleapis/rpc/code"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// UnavailableError means that no replica could answer in time. Of Authorize, nothing is known
// about the token: answer 503. A write may or may not have been made.
//
// If time ran out, errors.Is(err, [context.DeadlineExceeded]) is true.
type UnavailableError struct {
	// Summary says in a few words why there is no answer.
	Summary string
	// Attempts says what happened to each attempt, in their order.
	Attempts []Attempt

	cause error
}

// Attempt is one question to one replica, which led to no answer.
type Attempt struct {
	// Address is the replica's IP address and port.
	Address string
	// Code is what the replica or the connection to it answered.
	Code codes.Code
	// Message is the text beside the code.
	Message string
}

// Error says in one line why there is no answer, and what happened to each attempt.
func (e *UnavailableError) Error() string {
	text := "keyservice: unavailable: " + e.Summary
	separator := ": "
	for i, attempt := range e.Attempts {
		if slices.Contains(e.Attempts[:i], attempt) {
			continue // It is counted where it is first.
		}
		text += separator + attempt.String()
		separator = "; "
		if times := count(e.Attempts, attempt); times > 1 {
			text += fmt.Sprintf(", %d times", times)
		}
	}
	return text
}

func count(attempts []Attempt, wanted Attempt) int {
	times := 0
	for _, attempt := range attempts {
		if attempt == wanted {
			times++
		}
	}
	return times
}

// Unwrap returns [context.DeadlineExceeded] if time ran out, and nil otherwise.
func (e *UnavailableError) Unwrap() error { return e.cause }

// String says in one line what happened.
func (a Attempt) String() string {
	return fmt.Sprintf("%s %s (%s)", a.Address, codeName(a.Code), a.Message)
}

// MisusedError means that the question was wrong, and that to ask again does not help. [New]
// returns it for options that cannot be used.
type MisusedError struct {
	// Code is InvalidArgument if the question is wrong: if the domain came from your user, answer
	// 400. It is Unauthenticated or PermissionDenied if this service may not ask, and
	// FailedPrecondition after Close.
	Code codes.Code
	// Message says what was wrong.
	Message string
}

// Error says in one line what was wrong.
func (e *MisusedError) Error() string {
	return fmt.Sprintf("keyservice: misused: %s: %s", codeName(e.Code), e.Message)
}

// RefusedError means that the service understood an admin call and did not carry it out. To ask
// again does not help until something else changes.
type RefusedError struct {
	// Code says what kind of refusal it is, such as NotFound or FailedPrecondition.
	Code codes.Code
	// Message says why, for people.
	Message string
	// Reason says why, for programs, such as KEY_REVOKED or ETAG_MISMATCH. It may be empty.
	Reason string
	// ResourceName is what the refusal is about, if the service has named it: for AlreadyExists,
	// the id of the key that exists.
	ResourceName string
}

// Error says in one line what was refused and why.
func (e *RefusedError) Error() string {
	text := fmt.Sprintf("keyservice: refused: %s: %s", codeName(e.Code), e.Message)
	if e.Reason != "" {
		text += " [" + e.Reason + "]"
	}
	if e.ResourceName != "" {
		text += " [" + e.ResourceName + "]"
	}
	return text
}

func misused(format string, arguments ...any) *MisusedError {
	return &MisusedError{Code: codes.InvalidArgument, Message: fmt.Sprintf(format, arguments...)}
}

func refused(refusal *status.Status) *RefusedError {
	err := &RefusedError{Code: refusal.Code(), Message: oneLine(refusal.Message())}
	for _, detail := range refusal.Details() {
		switch detail := detail.(type) {
		case *errdetails.ErrorInfo:
			err.Reason = oneLine(detail.GetReason())
		case *errdetails.ResourceInfo:
			err.ResourceName = oneLine(detail.GetResourceName())
		}
	}
	return err
}

// unavailable is the error after these attempts. lookUps says which names were not found, and
// ended why the call's context has ended. Both may be nil.
func unavailable(summary string, lookUps error, attempts []Attempt, ended error) *UnavailableError {
	if lookUps != nil {
		summary += ": " + oneLine(lookUps.Error())
	}
	return &UnavailableError{summary, attempts, ended}
}

// cancelled is the error of a call that its own caller ended.
func cancelled(ended error) error {
	return fmt.Errorf("keyservice: the call was cancelled: %w", ended)
}

// codeName is the code as the proto spells it, such as NOT_FOUND.
func codeName(c codes.Code) string { return code.Code(c).String() }

// secrets are tokens and bearer secrets.
var secrets = regexp.MustCompile(`(tsend_|tsop_)[0-9A-Za-z]+`)

// oneLine makes a text of somebody else fit into an error: on one line, of printable characters,
// not endless, and without what looks like a token or a secret.
func oneLine(text string) string {
	const maxRunes = 500
	// gRPC shows here what a proxy has answered, which may be the very request.
	text, _, _ = strings.Cut(text, "; data: ")
	words := strings.FieldsFunc(text, func(r rune) bool { return r == ' ' || !unicode.IsPrint(r) || r == utf8.RuneError })
	shown := []rune(secrets.ReplaceAllString(strings.Join(words, " "), "$1…"))
	if len(shown) > maxRunes {
		shown = append(shown[:maxRunes], '…')
	}
	return string(shown)
}
