// Package keyservice asks KeyService whether a token may send for a domain, and manages keys,
// domains and accounts.
//
//	client, err := keyservice.New(keyservice.Options{
//		Addresses:  []string{"keys.example.org:50051"},
//		SecretFile: "/etc/sender/secret",
//	})
//	decision, err := client.Authorize(ctx, token, domain)
//
// A call has one of four ends: [Allowed], [Denied], an [*UnavailableError] or a [*MisusedError].
// If the caller's own context is cancelled, the error wraps [context.Canceled] instead. Admin calls
// may also end in a [*RefusedError].
//
// A token or a bearer secret is never in an error, a log, a metric or a printed object.
package keyservice

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/metric"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Version is the version of this library.
const Version = "0.1.0"

// Options say which service to ask, and who asks. Every field but Addresses has a default.
type Options struct {
	// Addresses are the replicas, each as host:port. A name may stand for many replicas: all its
	// addresses are used, and looked up again every 5 seconds and whenever no replica is ready.
	Addresses []string

	// Plaintext asks without TLS. Then no other field about certificates may be set, and a secret
	// is sent only to loopback addresses.
	Plaintext bool
	// CAFile contains the certificates of the authorities that are trusted, in PEM. By default,
	// those of the system are.
	CAFile string
	// CertFile and KeyFile contain this service's certificate with its chain, and its private key,
	// in PEM.
	CertFile, KeyFile string
	// SecretFile contains this service's bearer secret. If there is a certificate too, only the
	// secret counts.
	SecretFile string
	// ServerName is the name that the certificates of the replicas must have. By default, it is
	// the host of the address.
	ServerName string

	// Deadline is for a whole Authorize: 1 s by default. A context that ends earlier ends it earlier.
	Deadline time.Duration
	// AttemptTimeout is for one attempt of an Authorize, which takes at most half of the call's
	// deadline: 200 ms by default.
	AttemptTimeout time.Duration
	// Attempts is how many attempts a call makes at most: 4 by default.
	Attempts int
	// AdminDeadline is for a whole admin call: 10 s by default. A context that ends earlier ends
	// it earlier. Each attempt may take half of what is left.
	AdminDeadline time.Duration

	// Logger gets what becomes of the replicas (debug), and files that cannot be used (warn). By
	// default, it is slog.Default().
	Logger *slog.Logger
	// MeterProvider gets the metrics. By default, it is the global one of OpenTelemetry.
	MeterProvider metric.MeterProvider
}

// Client asks KeyService. It may be used by many goroutines at once. A program needs one.
type Client struct {
	options Options
	pool    *pool
	metrics *metrics
	stop    context.CancelFunc // ends the work in the background

	mu     sync.Mutex
	closed bool
	calls  sync.WaitGroup
}

var errClosed = &MisusedError{codes.FailedPrecondition, "the client is closed"}

// New makes a client, and begins to connect to all replicas. It reads files, but waits for no
// replica: see [Client.WaitUntilReady]. Close the client when you do not need it any more.
//
// The error is a [*MisusedError] if the options contradict each other, or a file cannot be used.
func New(options Options) (*Client, error) {
	options.Addresses = append([]string(nil), options.Addresses...)
	if err := options.complete(); err != nil {
		return nil, err
	}
	names, err := options.names()
	if err != nil {
		return nil, err
	}
	credentials, err := newCredentials(&options)
	if err != nil {
		return nil, misused("%s", oneLine(err.Error()))
	}
	metrics, err := newMetrics(options.MeterProvider)
	if err != nil {
		return nil, misused("the MeterProvider refuses the metrics: %v", err)
	}
	ctx, stop := context.WithCancel(context.Background())
	client := &Client{
		options: options,
		metrics: metrics,
		stop:    stop,
		pool: &pool{
			credentials: credentials,
			log:         options.Logger,
			metrics:     metrics,
			lookUpHost:  net.DefaultResolver.LookupNetIP,
			names:       names,
			changed:     make(chan struct{}),

			streamThreshold: defaultStreamThreshold,
		},
	}
	client.pool.start(ctx)
	return client, nil
}

// complete sets the defaults, and refuses options that contradict each other.
func (o *Options) complete() error {
	if o.Deadline < 0 || o.AttemptTimeout < 0 || o.AdminDeadline < 0 || o.Attempts < 0 {
		return misused("Deadline, AttemptTimeout, AdminDeadline and Attempts must not be negative")
	}
	o.Deadline = cmp.Or(o.Deadline, time.Second)
	o.AttemptTimeout = cmp.Or(o.AttemptTimeout, 200*time.Millisecond)
	o.Attempts = cmp.Or(o.Attempts, 4)
	o.AdminDeadline = cmp.Or(o.AdminDeadline, 10*time.Second)
	o.Logger = cmp.Or(o.Logger, slog.Default())
	if o.MeterProvider == nil {
		o.MeterProvider = otel.GetMeterProvider()
	}
	if (o.CertFile == "") != (o.KeyFile == "") {
		return misused("CertFile and KeyFile belong together: give both or neither")
	}
	if o.Plaintext && (o.CAFile != "" || o.CertFile != "" || o.ServerName != "") {
		return misused("Plaintext contradicts CAFile, CertFile, KeyFile and ServerName: there is no TLS")
	}
	return nil
}

// names reads the addresses.
func (o *Options) names() ([]*name, error) {
	if len(o.Addresses) == 0 {
		return nil, misused("Addresses is empty: give at least one host:port")
	}
	var names []*name
	for _, address := range o.Addresses {
		host, port, err := net.SplitHostPort(address)
		number, notANumber := strconv.ParseUint(port, 10, 16)
		if err != nil || host == "" || notANumber != nil || number == 0 {
			return nil, misused("the address %q is not host:port, such as keys.example.org:50051", address)
		}
		if o.Plaintext && o.SecretFile != "" && !isLoopback(host) {
			return nil, misused("a secret must not be sent to %q in plain text: use TLS", address)
		}
		verified := cmp.Or(o.ServerName, host)
		names = append(names, &name{
			host:      host,
			port:      port,
			authority: net.JoinHostPort(verified, port),
			local:     o.Plaintext && o.SecretFile != "",
		})
	}
	return names, nil
}

func isLoopback(host string) bool {
	address, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && address.IsLoopback()
}

// Authorize asks whether the token may be used to send for the domain, now. Any text may be asked
// about as a token: one that is none is denied.
//
// The error is an [*UnavailableError] if no replica could answer before the deadline, and a
// [*MisusedError] if the domain is no domain name or this service may not ask. If ctx is
// cancelled, the call ends at once with an error that wraps [context.Canceled]. The decision is
// nil if and only if there is an error.
func (c *Client) Authorize(ctx context.Context, token, domain string) (Decision, error) {
	began := time.Now()
	decision, err := c.authorize(ctx, token, domain)
	c.metrics.authorized(ctx, time.Since(began), decision, err)
	return decision, err
}

func (c *Client) authorize(ctx context.Context, token, domain string) (Decision, error) {
	// No domain name is longer, and one that was cut would be another domain.
	if len(domain) > maxTextBytes || !utf8.ValidString(domain) {
		return nil, misused("domain is not a domain name")
	}
	token = presentable(token)
	var decision Decision
	err := c.ask(ctx, c.authorizeRules(), func(ctx context.Context, r *replica) (err error) {
		decision, err = r.authorize(ctx, token, domain)
		if err == nil && decision == nil {
			err = status.Error(codes.Unknown, "the answer is neither a grant nor a denial that this library understands")
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return decision, nil
}

func (c *Client) authorizeRules() rules {
	return rules{
		deadline:  c.options.Deadline,
		isRefusal: func(codes.Code) bool { return false },
		mayRepeat: always,
	}
}

// maxTextBytes is far above the length of tokens and domains, and below the server's limit for a
// message.
const maxTextBytes = 1024

// presentable makes any text one that a message can have, so that the service can deny it. What
// is too long to be a token still is when it is cut.
func presentable(token string) string {
	return strings.ToValidUTF8(token[:min(len(token), maxTextBytes)], "\uFFFD")
}

// WaitUntilReady waits until a replica is ready. Let your own readiness depend on it.
//
// If the deadline of ctx passes first, the error is an [*UnavailableError], which says of each
// replica why it is not ready. If ctx is cancelled, it wraps [context.Canceled].
func (c *Client) WaitUntilReady(ctx context.Context) error {
	ended := c.pool.waitUntilReady(ctx)
	switch {
	case ended == nil && c.pool.isClosed():
		return errClosed
	case ended == nil:
		return nil
	case errors.Is(ended, context.Canceled):
		return cancelled(ended)
	}
	troubles, lookUps := c.pool.troubles()
	return unavailable("no replica is ready", lookUps, troubles, ended)
}

// Close lets the calls in flight finish, and ends the connections. Calls that begin later end in a
// [*MisusedError].
func (c *Client) Close() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.calls.Wait()
	c.stop()
	c.pool.close()
}

// begin counts a call as being in flight, unless the client is closed.
func (c *Client) begin() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closed {
		c.calls.Add(1)
	}
	return !c.closed
}

// String says how many replicas there are. It shows nothing that is secret, and nor does %#v.
func (c *Client) String() string {
	ready, all := c.pool.counts()
	return fmt.Sprintf("keyservice.Client(%s; %d of %d replicas are ready)", strings.Join(c.options.Addresses, ", "), ready, all)
}

// GoString is String.
func (c *Client) GoString() string { return c.String() }
