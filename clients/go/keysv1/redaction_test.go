package keysv1

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

const secret = "tsend_secret"

func TestNoMessageShowsWhatTheProtoRedacts(t *testing.T) {
	filled := 0
	protoregistry.GlobalTypes.RangeMessages(func(kind protoreflect.MessageType) bool {
		message := kind.New()
		if kind.Descriptor().FullName().Parent() == "tosend.keys.v1" && fill(message) {
			filled++
			check(t, message.Interface())
		}
		return true
	})
	if filled < 9 {
		t.Errorf("only %d messages have a field that is redacted", filled)
	}
	check(t, (&BatchRevokeRequest_Keys{Tokens: []string{secret}}))
	check(t, &GetRequest_Token{secret})
	check(t, &RevokeRequest_Token{secret})
	check(t, &RotateRequest_Token{secret})
	check(t, &SuspendRequest_Token{secret})
}

// fill sets the redacted fields, at any depth, and reports whether there are any.
func fill(message protoreflect.Message) bool {
	found := false
	fields := message.Descriptor().Fields()
	for i := range fields.Len() {
		field := fields.Get(i)
		switch {
		case isRedacted(field) && field.IsList():
			message.Mutable(field).List().Append(protoreflect.ValueOfString(secret))
			found = true
		case isRedacted(field):
			message.Set(field, protoreflect.ValueOfString(secret))
			found = true
		case field.Message() != nil && !field.IsList() && !field.IsMap() && field.Message().ParentFile() == message.Descriptor().ParentFile():
			if inner := message.NewField(field); fill(inner.Message()) {
				message.Set(field, inner)
				found = true
			}
		}
	}
	return found
}

func check(t *testing.T, value any) {
	var log strings.Builder
	slog.New(slog.NewJSONHandler(&log, nil)).Info("", "value", value)
	slog.New(slog.NewTextHandler(&log, nil)).Info("", "value", value)
	shown := fmt.Sprintf("%v %+v %#v %s %q ", value, value, value, value, value) + log.String()
	if strings.Contains(shown, secret) || !strings.Contains(shown, redacted) {
		t.Errorf("%T is shown as %s", value, shown)
	}
}

func TestPrintingLeavesTheMessageAsItWas(t *testing.T) {
	response := &CreateResponse{Token: secret, Key: &Key{KeyId: "key_1"}}
	shown := response.String()
	if response.GetToken() != secret || !strings.Contains(shown, "key_1") {
		t.Error(shown)
	}
	encoded, err := proto.Marshal(response)
	if err != nil || !strings.Contains(string(encoded), secret) {
		t.Error("the token is not encoded", err)
	}
}
