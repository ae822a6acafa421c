package keyservice

import (
	"context"
	"crypto/tls"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/tosend/keyservice/clients/go/keysv1"
)

// fake is a replica on a socket of its own, whose answers the test chooses.
type fake struct {
	keysv1.UnimplementedKeyServiceServer
	net.Listener
	server      *grpc.Server
	address     string
	asked       atomic.Int64 // by calls and on streams
	streamed    atomic.Int64 // on streams
	streams     atomic.Int64
	connections atomic.Int64
	watches     atomic.Int64
	inFlight    atomic.Int64 // calls of Authorize

	mu             sync.Mutex
	changed        chan struct{} // is closed, and replaced, at each change of the below
	mostInFlight   int64
	hangs          bool
	endsStreams    bool
	refusesStreams bool
	health         healthpb.HealthCheckResponse_ServingStatus
	answer         func() (*keysv1.AuthorizeResponse, error)
	create         func(*keysv1.CreateRequest) (*keysv1.CreateResponse, error)
	update         func() (*keysv1.UpdateResponse, error)
	// whenAsked is called at each call.
	whenAsked func()
	secret    string // the authorization of the last call
	name      string // the subject of the certificate of the last call
}

func startFake(t *testing.T) *fake {
	return startFakeTLS(t, nil)
}

func startFakeTLS(t *testing.T, config *tls.Config) *fake {
	t.Helper()
	return startFakeAt(t, "127.0.0.1:0", config)
}

func startFakeAt(t *testing.T, address string, config *tls.Config) *fake {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	f := &fake{
		Listener: listener,
		address:  listener.Addr().String(),
		changed:  make(chan struct{}),
		health:   healthpb.HealthCheckResponse_SERVING,
		answer:   grant,
	}
	security := insecure.NewCredentials()
	if config != nil {
		security = credentials.NewTLS(config)
	}
	server := grpc.NewServer(grpc.Creds(security))
	f.server = server
	keysv1.RegisterKeyServiceServer(server, f)
	healthpb.RegisterHealthServer(server, &fakeHealth{fake: f})
	go server.Serve(f)
	t.Cleanup(server.Stop)
	return f
}

// Accept counts connections.
func (f *fake) Accept() (net.Conn, error) {
	conn, err := f.Listener.Accept()
	if err == nil {
		f.connections.Add(1)
	}
	return conn, err
}

// set changes what the replica does from now on.
func (f *fake) set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
	close(f.changed)
	f.changed = make(chan struct{})
}

// whileHanging waits as long as the replica hangs. The error is that of the call if it ends first.
func (f *fake) whileHanging(ctx context.Context) error {
	for {
		f.mu.Lock()
		hangs, changed := f.hangs, f.changed
		f.mu.Unlock()
		if !hangs {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// fakeHealth is the health of a fake.
type fakeHealth struct {
	healthpb.UnimplementedHealthServer
	fake *fake
}

func (h *fakeHealth) Watch(_ *healthpb.HealthCheckRequest, stream grpc.ServerStreamingServer[healthpb.HealthCheckResponse]) error {
	f := h.fake
	f.watches.Add(1)
	ctx := stream.Context()
	for ctx.Err() == nil {
		if err := f.whileHanging(ctx); err != nil {
			return err
		}
		f.mu.Lock()
		health, changed := f.health, f.changed
		f.mu.Unlock()
		if err := stream.Send(&healthpb.HealthCheckResponse{Status: health}); err != nil {
			return err
		}
		select {
		case <-changed:
		case <-ctx.Done():
		}
	}
	return ctx.Err()
}

func (f *fake) Authorize(ctx context.Context, _ *keysv1.AuthorizeRequest) (*keysv1.AuthorizeResponse, error) {
	f.note(ctx)
	inFlight := f.inFlight.Add(1)
	defer f.inFlight.Add(-1)
	f.set(func() { f.mostInFlight = max(f.mostInFlight, inFlight) })
	if err := f.whileHanging(ctx); err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.answer()
}

func (f *fake) AuthorizeStream(stream grpc.BidiStreamingServer[keysv1.AuthorizeStreamRequest, keysv1.AuthorizeStreamResponse]) error {
	f.streams.Add(1)
	f.mu.Lock()
	refuses := f.refusesStreams
	f.mu.Unlock()
	if refuses {
		return status.Error(codes.ResourceExhausted, "too many streams")
	}
	if err := stream.SendHeader(nil); err != nil {
		return err
	}
	for {
		question, err := stream.Recv()
		if err != nil {
			return err
		}
		f.note(stream.Context())
		f.streamed.Add(1)
		if err := f.whileHanging(stream.Context()); err != nil {
			return err
		}
		f.mu.Lock()
		response, err := f.answer()
		ends := f.endsStreams
		f.mu.Unlock()
		if ends {
			return nil
		}
		answer := &keysv1.AuthorizeStreamResponse{Id: question.GetId(), Granted: response.GetGranted()}
		switch {
		case err != nil:
			answer.Answer = &keysv1.AuthorizeStreamResponse_Error{Error: status.Convert(err).Proto()}
		case response.GetGrant() != nil:
			answer.Answer = &keysv1.AuthorizeStreamResponse_Grant{Grant: response.GetGrant()}
		case response.GetDenial() != nil:
			answer.Answer = &keysv1.AuthorizeStreamResponse_Denial{Denial: response.GetDenial()}
		}
		if err := stream.Send(answer); err != nil {
			return err
		}
	}
}

func (f *fake) Create(ctx context.Context, request *keysv1.CreateRequest) (*keysv1.CreateResponse, error) {
	f.note(ctx)
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.create(request)
}

func (f *fake) Update(ctx context.Context, _ *keysv1.UpdateRequest) (*keysv1.UpdateResponse, error) {
	f.note(ctx)
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.update()
}

func (f *fake) note(ctx context.Context) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked.Add(1)
	if f.whenAsked != nil {
		f.whenAsked()
	}
	f.secret, f.name = "", ""
	if values := metadata.ValueFromIncomingContext(ctx, "authorization"); len(values) > 0 {
		f.secret = values[0]
	}
	caller, _ := peer.FromContext(ctx)
	if info, ok := caller.AuthInfo.(credentials.TLSInfo); ok && len(info.State.PeerCertificates) > 0 {
		f.name = info.State.PeerCertificates[0].Subject.CommonName
	}
}

func (f *fake) lastSecret() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.secret
}

func (f *fake) lastName() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.name
}

func grant() (*keysv1.AuthorizeResponse, error) {
	scope := &keysv1.Scope{Kind: &keysv1.Scope_Domain{Domain: "example.com"}}
	grant := &keysv1.Grant{KeyId: "key_1", AccountId: "acme", Scope: scope}
	return &keysv1.AuthorizeResponse{Decision: &keysv1.AuthorizeResponse_Grant{Grant: grant}, Granted: true}, nil
}

func deny(reason keysv1.Denial_Reason) func() (*keysv1.AuthorizeResponse, error) {
	denial := &keysv1.Denial{Reason: reason, KeyId: "key_1", AccountId: "acme"}
	return func() (*keysv1.AuthorizeResponse, error) {
		return &keysv1.AuthorizeResponse{Decision: &keysv1.AuthorizeResponse_Denial{Denial: denial}}, nil
	}
}

func fail(code codes.Code) func() (*keysv1.AuthorizeResponse, error) {
	return func() (*keysv1.AuthorizeResponse, error) {
		return nil, status.Error(code, "the server's\nown words")
	}
}

// open makes a client of these replicas, and waits until all of them are ready.
func open(t *testing.T, options Options, fakes ...*fake) *Client {
	t.Helper()
	for _, f := range fakes {
		options.Addresses = append(options.Addresses, f.address)
	}
	options.Plaintext = options.CAFile == ""
	client, err := New(options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	waitFor(t, client, "all replicas to be ready", func() bool { return client.pool.readyCount() == len(fakes) })
	return client
}

// waitFor waits until the state of the pool is as the condition says.
func waitFor(t *testing.T, client *Client, what string, condition func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := client.pool.wait(ctx, condition); err != nil {
		t.Fatalf("waited in vain for %s", what)
	}
}

// repeat calls until the condition holds.
func repeat(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !condition(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

func addressesOf(attempts []Attempt) []string {
	var addresses []string
	for _, attempt := range attempts {
		addresses = append(addresses, attempt.Address)
	}
	return addresses
}

func distinct(texts []string) int {
	sorted := slices.Sorted(slices.Values(texts))
	return len(slices.Compact(sorted))
}
