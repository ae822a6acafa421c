package keyservice

import (
	"context"
	"net"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"

	"github.com/tosend/keyservice/clients/go/keysv1"
)

const (
	healthService = "tosend.keys.v1.KeyService"

	// A watch is opened again after the shortest pause, which doubles while watches fail.
	minWatchPause = 100 * time.Millisecond
	maxWatchPause = time.Second
	// A replica that hung, and whose health does not answer within this time, is connected to anew:
	// the connection may be dead.
	recoveryTime = time.Second
	// How long connecting may take, with TLS.
	connectTimeout = 5 * time.Second
	// So few attempts are in flight on a connection that a service which hung finds fewer cancelled
	// calls than it allows. It closes a connection with more.
	maxInFlight = 100
	// The shortest interval that gRPC allows.
	keepaliveInterval = 10 * time.Second
	keepaliveTimeout  = 5 * time.Second
)

// endpoint is where a replica is.
type endpoint struct {
	address   string // IP address and port
	authority string // the name that its certificate must have, and the port
}

// replica is one connection to one replica of the service, and what is known of its health.
type replica struct {
	endpoint
	pool   *pool
	conn   *grpc.ClientConn
	keys   keysv1.KeyServiceClient
	health healthpb.HealthClient
	stop   context.CancelFunc // ends the watching of its health
	// is closed when the replica is retired
	stopped <-chan struct{}
	// Each attempt of Authorize puts something in, and takes it out at its end.
	slots chan struct{}

	// The mutex of the pool guards these.
	ready      bool
	trouble    Attempt // why it is not ready
	calls      int     // in flight
	retired    bool    // it gets no more calls, and its connection ends with the last one
	lastTurn   uint64  // the pool's turn at which it was last asked
	answered   bool    // the health has answered since the connection or a watch last failed
	watchBegan time.Time
	endWatch   context.CancelFunc // ends the current watch
	// Many calls are asked on the stream, if there is one.
	stream       *stream
	streamOpened time.Time // when it was last tried to open one
	// It runs, and is not nil, from when an attempt timed out until the health answers on a new
	// watch. At its end, the pool connects to the replica anew.
	recovery *time.Timer
	// Slots of attempts that ran out of time. The service has not read yet that they are cancelled,
	// so they are kept until its health answers.
	kept int
}

// connect makes the channel. It connects when the health is watched, and from then on by itself.
func connect(at endpoint, credentials *fileCredentials) (*grpc.ClientConn, error) {
	dial := func(ctx context.Context, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "tcp", at.address)
	}
	retries := backoff.DefaultConfig
	retries.BaseDelay = minWatchPause
	retries.MaxDelay = maxWatchPause
	return grpc.NewClient("passthrough:///"+healthService,
		grpc.WithContextDialer(dial),
		grpc.WithAuthority(at.authority),
		grpc.WithTransportCredentials(credentials.transport()),
		grpc.WithUserAgent("keyservice-go/"+Version),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: retries, MinConnectTimeout: connectTimeout}),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{
			Time:                keepaliveInterval,
			Timeout:             keepaliveTimeout,
			PermitWithoutStream: true,
		}),
		// The library itself chooses replicas, tries again, and keeps connections.
		grpc.WithDisableServiceConfig(),
		grpc.WithDisableRetry(),
		grpc.WithIdleTimeout(0))
}

// enter takes a slot for an attempt, and waits for one if need be. It reports false if another
// replica is to be chosen, or the context has ended. After true, leave must follow.
func (r *replica) enter(ctx context.Context) bool {
	select {
	case r.slots <- struct{}{}:
		return true
	default:
	}
	select {
	case r.slots <- struct{}{}:
	case <-r.stopped:
		return false
	case <-ctx.Done():
		return false
	}
	r.pool.mu.Lock()
	ready := r.ready
	r.pool.mu.Unlock()
	if !ready {
		<-r.slots
	}
	return ready
}

// leave gives the slot of an attempt back, or keeps it if the service may not have read that the
// attempt ran out of time.
func (r *replica) leave(ranOut bool) {
	r.pool.mu.Lock()
	defer r.pool.mu.Unlock()
	if ranOut && r.recovery != nil {
		r.kept++
	} else {
		<-r.slots
	}
}

// watch keeps ready what the replica's health says, until the context ends.
func (r *replica) watch(ctx context.Context) {
	pause := minWatchPause
	for ctx.Err() == nil {
		began := time.Now()
		answered, err := r.watchOnce(ctx, began)
		if err == nil {
			continue // An attempt timed out, which asks for a new watch at once.
		}
		if answered {
			pause = minWatchPause
		}
		r.watchFailed(failedAttempt(r.address, err))
		// A connection that comes back, or goes, is news that ends the pause.
		waiting, cancel := context.WithDeadline(ctx, began.Add(pause))
		r.conn.WaitForStateChange(waiting, r.conn.GetState())
		cancel()
		pause = min(2*pause, maxWatchPause)
	}
}

// watchOnce watches on one stream. It returns whether the health answered, and the error that
// ended the stream. There is none if the pool or the context has ended it.
func (r *replica) watchOnce(ctx context.Context, began time.Time) (answered bool, err error) {
	watching, cancel := context.WithCancel(ctx)
	defer cancel()
	r.watchBegins(began, cancel)
	stream, err := r.health.Watch(watching, &healthpb.HealthCheckRequest{Service: healthService})
	for err == nil {
		var answer *healthpb.HealthCheckResponse
		if answer, err = stream.Recv(); err == nil {
			answered = true
			r.healthAnswered(watching, answer.GetStatus())
		}
	}
	if watching.Err() != nil {
		return answered, nil
	}
	return answered, err
}

// timedOut takes it that a replica hangs, because an attempt that began at this time had no answer.
// It is not ready from now on, until its health says so on a new watch.
func (r *replica) timedOut(began time.Time, trouble Attempt) {
	r.pool.mu.Lock()
	defer r.pool.mu.Unlock()
	// A watch that began after the attempt knows better. A connection that is still being made has
	// its own time limit, and to begin anew would only delay it.
	if r.retired || r.recovery != nil || !r.answered || began.Before(r.watchBegan) {
		return
	}
	r.recovery = time.AfterFunc(recoveryTime, func() { r.pool.replace(r) })
	r.trouble = trouble
	r.setReady(false)
	r.endStream()
	r.endWatch()
}

func (r *replica) watchBegins(began time.Time, end context.CancelFunc) {
	r.pool.mu.Lock()
	defer r.pool.mu.Unlock()
	r.watchBegan, r.endWatch = began, end
}

// healthAnswered takes an answer, unless its watch has been ended since.
func (r *replica) healthAnswered(watching context.Context, health healthpb.HealthCheckResponse_ServingStatus) {
	r.pool.mu.Lock()
	defer r.pool.mu.Unlock()
	if watching.Err() != nil {
		return
	}
	r.answered = true
	r.endRecovery()
	r.trouble = Attempt{r.address, codes.Unavailable, "its health is " + health.String()}
	r.setReady(health == healthpb.HealthCheckResponse_SERVING)
}

// watchFailed takes the end of a watch. If the connection has failed, gRPC makes a new one.
func (r *replica) watchFailed(trouble Attempt) {
	r.pool.mu.Lock()
	defer r.pool.mu.Unlock()
	r.answered = false
	r.endRecovery()
	r.trouble = trouble
	r.setReady(false)
}

// setReady is called with the mutex of the pool.
func (r *replica) setReady(ready bool) {
	if r.retired || r.ready == ready {
		return
	}
	p, trouble := r.pool, r.trouble.Message
	p.metrics.counted(-1, r.ready)
	p.metrics.counted(1, ready)
	r.ready = ready
	if ready {
		// A log that blocks must not hold up calls.
		p.background.Go(func() { p.log.Debug("keyservice: a replica is ready", "address", r.address) })
		p.retireOlder(r)
		p.announce()
	} else {
		p.background.Go(func() {
			p.log.Debug("keyservice: a replica is not ready", "address", r.address, "reason", trouble)
		})
	}
}

// endRecovery is called with the mutex of the pool.
func (r *replica) endRecovery() {
	for ; r.kept > 0; r.kept-- {
		<-r.slots
	}
	if r.recovery != nil {
		r.recovery.Stop()
		r.recovery = nil
	}
}
