package keyservice

import (
	"cmp"
	"context"
	"crypto/rand"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	"github.com/tosend/keyservice/clients/go/keysv1"
)

// Admin calls need the role admin. Each ends in a response, an [*UnavailableError], a
// [*MisusedError] or a [*RefusedError], or wraps [context.Canceled]. After an *UnavailableError, a
// write may or may not have been made. The requests and responses are explained in the package
// keysv1. Printed, they show no token.

// Create creates a key and returns its token, which can never be shown again. If the request has no
// request_id, the library makes one, so that no attempt makes a second key.
//
// If the answer to an attempt was lost, the next one is refused with AlreadyExists, and ResourceName
// is the id of the key: its token cannot be shown any more, so revoke it and create another.
func (c *Client) Create(ctx context.Context, request *keysv1.CreateRequest) (*keysv1.CreateResponse, error) {
	if request.GetRequestId() == "" {
		request = proto.CloneOf(cmp.Or(request, &keysv1.CreateRequest{}))
		request.RequestId = proto.String(rand.Text())
	}
	return admin(ctx, c, always, keysv1.NewKeyServiceClient, keysv1.KeyServiceClient.Create, request)
}

// List lists the keys of an account, page by page, newest first.
func (c *Client) List(ctx context.Context, request *keysv1.ListRequest) (*keysv1.ListResponse, error) {
	return admin(ctx, c, always, keysv1.NewKeyServiceClient, keysv1.KeyServiceClient.List, request)
}

// Get returns one key, by its id or its token.
func (c *Client) Get(ctx context.Context, request *keysv1.GetRequest) (*keysv1.GetResponse, error) {
	return admin(ctx, c, always, keysv1.NewKeyServiceClient, keysv1.KeyServiceClient.Get, request)
}

// Update changes a key's name, scope, labels or when it expires: all that update_mask names.
//
// With an etag, it is not repeated after an attempt whose outcome is not known, and ends in an
// [*UnavailableError]. Get the key then: it shows whether the change was made. If you call again
// with the same etag instead, your own first change may be why it is refused with ETAG_MISMATCH.
func (c *Client) Update(ctx context.Context, request *keysv1.UpdateRequest) (*keysv1.UpdateResponse, error) {
	mayRepeat := always
	if request.GetEtag() != "" {
		mayRepeat = func(code codes.Code) bool { return code == codes.ResourceExhausted }
	}
	return admin(ctx, c, mayRepeat, keysv1.NewKeyServiceClient, keysv1.KeyServiceClient.Update, request)
}

// Rotate replaces a key by a successor with a new token, which can never be shown again. request_id
// and AlreadyExists are as in Create.
func (c *Client) Rotate(ctx context.Context, request *keysv1.RotateRequest) (*keysv1.RotateResponse, error) {
	if request.GetRequestId() == "" {
		request = proto.CloneOf(cmp.Or(request, &keysv1.RotateRequest{}))
		request.RequestId = proto.String(rand.Text())
	}
	return admin(ctx, c, always, keysv1.NewKeyServiceClient, keysv1.KeyServiceClient.Rotate, request)
}

// Suspend denies a key until it is resumed.
func (c *Client) Suspend(ctx context.Context, request *keysv1.SuspendRequest) (*keysv1.SuspendResponse, error) {
	return admin(ctx, c, always, keysv1.NewKeyServiceClient, keysv1.KeyServiceClient.Suspend, request)
}

// Resume ends a key's suspension.
func (c *Client) Resume(ctx context.Context, request *keysv1.ResumeRequest) (*keysv1.ResumeResponse, error) {
	return admin(ctx, c, always, keysv1.NewKeyServiceClient, keysv1.KeyServiceClient.Resume, request)
}

// Revoke revokes a key permanently. When it returns without an error, no replica allows the key.
func (c *Client) Revoke(ctx context.Context, request *keysv1.RevokeRequest) (*keysv1.RevokeResponse, error) {
	return admin(ctx, c, always, keysv1.NewKeyServiceClient, keysv1.KeyServiceClient.Revoke, request)
}

// BatchRevoke revokes many keys: those that a filter selects, or given ones. After an attempt whose
// answer was lost, keys that it has revoked are counted as revoked before, or not at all.
func (c *Client) BatchRevoke(ctx context.Context, request *keysv1.BatchRevokeRequest) (*keysv1.BatchRevokeResponse, error) {
	return admin(ctx, c, always, keysv1.NewKeyServiceClient, keysv1.KeyServiceClient.BatchRevoke, request)
}

// AddDomain says that a domain is verified for an account.
func (c *Client) AddDomain(ctx context.Context, request *keysv1.AddDomainRequest) (*keysv1.AddDomainResponse, error) {
	return admin(ctx, c, always, keysv1.NewDomainServiceClient, keysv1.DomainServiceClient.AddDomain, request)
}

// RemoveDomain takes a domain from an account.
func (c *Client) RemoveDomain(ctx context.Context, request *keysv1.RemoveDomainRequest) (*keysv1.RemoveDomainResponse, error) {
	return admin(ctx, c, always, keysv1.NewDomainServiceClient, keysv1.DomainServiceClient.RemoveDomain, request)
}

// ListDomains lists the verified domains of an account, page by page.
func (c *Client) ListDomains(ctx context.Context, request *keysv1.ListDomainsRequest) (*keysv1.ListDomainsResponse, error) {
	return admin(ctx, c, always, keysv1.NewDomainServiceClient, keysv1.DomainServiceClient.ListDomains, request)
}

// SuspendAccount denies every key of an account until the account is resumed.
func (c *Client) SuspendAccount(ctx context.Context, request *keysv1.SuspendAccountRequest) (*keysv1.SuspendAccountResponse, error) {
	return admin(ctx, c, always, keysv1.NewAccountServiceClient, keysv1.AccountServiceClient.SuspendAccount, request)
}

// ResumeAccount ends an account's suspension.
func (c *Client) ResumeAccount(ctx context.Context, request *keysv1.ResumeAccountRequest) (*keysv1.ResumeAccountResponse, error) {
	return admin(ctx, c, always, keysv1.NewAccountServiceClient, keysv1.AccountServiceClient.ResumeAccount, request)
}

// GetAccount says whether an account is suspended, and what it has.
func (c *Client) GetAccount(ctx context.Context, request *keysv1.GetAccountRequest) (*keysv1.GetAccountResponse, error) {
	return admin(ctx, c, always, keysv1.NewAccountServiceClient, keysv1.AccountServiceClient.GetAccount, request)
}

// admin makes a call of one of the services.
func admin[Service any, Request, Response proto.Message](
	ctx context.Context,
	c *Client,
	mayRepeat func(codes.Code) bool,
	service func(grpc.ClientConnInterface) Service,
	method func(Service, context.Context, Request, ...grpc.CallOption) (Response, error),
	request Request,
) (response Response, err error) {
	if _, err := proto.Marshal(request); err != nil {
		return response, misused("the request cannot be encoded: %v", err)
	}
	rules := rules{
		deadline:  c.options.AdminDeadline,
		isRefusal: isRefusal,
		mayRepeat: mayRepeat,
		isAdmin:   true,
	}
	err = c.ask(ctx, rules, func(ctx context.Context, r *replica) (err error) {
		response, err = method(service(r.conn), ctx, request)
		return err
	})
	return response, err
}

// isRefusal reports whether a code of an admin call is the service's last word.
func isRefusal(code codes.Code) bool {
	switch code {
	case codes.Unavailable, codes.DeadlineExceeded, codes.Internal, codes.Unknown, codes.Canceled, codes.ResourceExhausted:
		return false
	}
	return true
}

func always(codes.Code) bool { return true }
