// Package keysv1 is generated from the protos of KeyService. Its messages show no token when they
// are printed or logged. To encode one with its token, use the packages proto and protojson.
package keysv1

import (
	"log/slog"

	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
)

const redacted = "[REDACTED]"

// redactedString is what String returns for every message of this package: generate puts it in
// the place of the function that shows everything.
func redactedString(message proto.Message) string {
	if !message.ProtoReflect().IsValid() {
		return "<nil>"
	}
	message = proto.Clone(message)
	redact(message.ProtoReflect())
	// Without unknown fields: a later release may keep a token in one.
	return prototext.MarshalOptions{}.Format(message)
}

// redact replaces the fields that the proto marks with debug_redact, at any depth.
func redact(message protoreflect.Message) {
	message.Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		switch {
		case isRedacted(field) && field.IsList():
			for i := range value.List().Len() {
				value.List().Set(i, protoreflect.ValueOfString(redacted))
			}
		case isRedacted(field):
			message.Set(field, protoreflect.ValueOfString(redacted))
		case field.Message() != nil && !field.IsList() && !field.IsMap():
			redact(value.Message())
		}
		return true
	})
}

func isRedacted(field protoreflect.FieldDescriptor) bool {
	options, _ := field.Options().(*descriptorpb.FieldOptions)
	return options.GetDebugRedact()
}

// %#v and log/slog do not use String. A test finds a message that is missing here.

func (x *AuthorizeRequest) GoString() string        { return x.String() }
func (x *AuthorizeStreamRequest) GoString() string  { return x.String() }
func (x *BatchRevokeRequest) GoString() string      { return x.String() }
func (x *BatchRevokeRequest_Keys) GoString() string { return x.String() }
func (x *CreateResponse) GoString() string          { return x.String() }
func (x *GetRequest) GoString() string              { return x.String() }
func (x *RevokeRequest) GoString() string           { return x.String() }
func (x *RotateRequest) GoString() string           { return x.String() }
func (x *RotateResponse) GoString() string          { return x.String() }
func (x *SuspendRequest) GoString() string          { return x.String() }

func (x *AuthorizeRequest) LogValue() slog.Value        { return slog.StringValue(x.String()) }
func (x *AuthorizeStreamRequest) LogValue() slog.Value  { return slog.StringValue(x.String()) }
func (x *BatchRevokeRequest) LogValue() slog.Value      { return slog.StringValue(x.String()) }
func (x *BatchRevokeRequest_Keys) LogValue() slog.Value { return slog.StringValue(x.String()) }
func (x *CreateResponse) LogValue() slog.Value          { return slog.StringValue(x.String()) }
func (x *GetRequest) LogValue() slog.Value              { return slog.StringValue(x.String()) }
func (x *RevokeRequest) LogValue() slog.Value           { return slog.StringValue(x.String()) }
func (x *RotateRequest) LogValue() slog.Value           { return slog.StringValue(x.String()) }
func (x *RotateResponse) LogValue() slog.Value          { return slog.StringValue(x.String()) }
func (x *SuspendRequest) LogValue() slog.Value          { return slog.StringValue(x.String()) }

// The targets are values inside the requests, and no messages.

func (*GetRequest_Token) String() string           { return redacted }
func (*GetRequest_Token) GoString() string         { return redacted }
func (*GetRequest_Token) LogValue() slog.Value     { return slog.StringValue(redacted) }
func (*RevokeRequest_Token) String() string        { return redacted }
func (*RevokeRequest_Token) GoString() string      { return redacted }
func (*RevokeRequest_Token) LogValue() slog.Value  { return slog.StringValue(redacted) }
func (*RotateRequest_Token) String() string        { return redacted }
func (*RotateRequest_Token) GoString() string      { return redacted }
func (*RotateRequest_Token) LogValue() slog.Value  { return slog.StringValue(redacted) }
func (*SuspendRequest_Token) String() string       { return redacted }
func (*SuspendRequest_Token) GoString() string     { return redacted }
func (*SuspendRequest_Token) LogValue() slog.Value { return slog.StringValue(redacted) }
