package keyservice

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/tosend/keyservice/clients/go/keysv1"
)

const (
	lookUpInterval = 5 * time.Second
	// How often the files are read, and names looked up while no replica is ready.
	checkInterval = time.Second
)

// pool keeps the replicas: it finds them, watches their health, and says whose turn it is.
type pool struct {
	credentials *fileCredentials
	log         *slog.Logger
	metrics     *metrics
	lookUpHost  func(ctx context.Context, network, host string) ([]netip.Addr, error)
	background  sync.WaitGroup
	// With so many calls in flight, a replica is asked on a stream.
	streamThreshold int

	mu       sync.Mutex
	names    []*name
	replicas []*replica
	turn     uint64
	changed  chan struct{} // is closed, and replaced, when replicas come or become ready
	closed   bool
}

// name is one of the addresses that the user gave.
type name struct {
	host      string
	port      string
	authority string
	local     bool         // a secret goes there in plain text, so it must not leave this machine
	addresses []netip.Addr // the last ones that a lookup found
	lookedUp  bool         // there is a result, be it an error
	err       error        // of the last lookup
}

// start looks names up and checks files until the context ends.
func (p *pool) start(ctx context.Context) {
	p.background.Go(func() { p.keepLookingUp(ctx) })
	p.background.Go(func() {
		for sleep(ctx, checkInterval) {
			if p.credentials.refresh(p.log) {
				p.renew()
			}
		}
	})
}

func (p *pool) keepLookingUp(ctx context.Context) {
	for {
		p.lookUp(ctx)
		for waited := time.Duration(0); waited < lookUpInterval; waited += checkInterval {
			if !sleep(ctx, checkInterval) {
				return
			}
			if ready, _ := p.counts(); ready == 0 {
				break
			}
		}
	}
}

// lookUp looks all names up at once, so that one which takes long does not delay the others.
func (p *pool) lookUp(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, lookUpInterval)
	defer cancel()
	var lookups sync.WaitGroup
	for _, n := range p.names {
		lookups.Go(func() {
			addresses, err := p.addressesOf(ctx, n)
			p.found(n, addresses, err)
		})
	}
	lookups.Wait()
}

func (p *pool) addressesOf(ctx context.Context, n *name) ([]netip.Addr, error) {
	if address, err := netip.ParseAddr(n.host); err == nil {
		return []netip.Addr{address}, nil
	}
	addresses, err := p.lookUpHost(ctx, "ip", n.host)
	if err == nil && len(addresses) == 0 {
		err = errors.New("lookup " + n.host + ": no address")
	}
	// What the name localhost stands for is not this library's to decide.
	if far := slices.IndexFunc(addresses, isFar); err == nil && n.local && far >= 0 {
		err = fmt.Errorf("lookup %s: a secret is not sent to %v in plain text", n.host, addresses[far])
	}
	return addresses, err
}

func isFar(address netip.Addr) bool { return !address.Unmap().IsLoopback() }

// found takes the result of a lookup. After an error, the name's last addresses stay.
func (p *pool) found(n *name, addresses []netip.Addr, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	n.lookedUp, n.err = true, err
	if err == nil {
		n.addresses = addresses
	}
	p.update()
	p.announce()
}

// update adds the replicas that are new in the names' addresses, and retires those that are gone.
func (p *pool) update() {
	if p.closed {
		return
	}
	wanted := map[string]endpoint{}
	for _, n := range p.names {
		for _, address := range n.addresses {
			at := net.JoinHostPort(address.Unmap().String(), n.port)
			if _, twice := wanted[at]; !twice {
				wanted[at] = endpoint{at, n.authority}
			}
		}
	}
	for _, r := range slices.Clone(p.replicas) {
		if wanted[r.address] != r.endpoint {
			p.retire(r)
		}
	}
	for _, r := range p.replicas {
		delete(wanted, r.address)
	}
	for _, at := range wanted {
		p.add(at)
	}
}

// renew connects to all replicas anew, for new certificates. A connection that is ready is used
// until the new one is.
func (p *pool) renew() {
	p.mu.Lock()
	defer p.mu.Unlock()
	endpoints := map[endpoint]bool{}
	for _, r := range slices.Clone(p.replicas) {
		endpoints[r.endpoint] = true
		if !r.ready {
			p.retire(r)
		}
	}
	for at := range endpoints {
		p.add(at)
	}
}

// replace connects to a replica anew.
func (p *pool) replace(r *replica) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !r.retired {
		p.retire(r)
		p.add(r.endpoint)
	}
}

func (p *pool) add(at endpoint) {
	conn, err := connect(at, p.credentials)
	if err != nil { // The options of the channel are wrong, which only a change of the library can cause.
		p.log.Error("keyservice: cannot make a channel", "address", at.address, "error", err)
		return
	}
	ctx, stop := context.WithCancel(context.Background())
	r := &replica{
		endpoint: at,
		pool:     p,
		conn:     conn,
		keys:     keysv1.NewKeyServiceClient(conn),
		health:   healthpb.NewHealthClient(conn),
		stop:     stop,
		stopped:  ctx.Done(),
		slots:    make(chan struct{}, maxInFlight),
		trouble:  Attempt{at.address, codes.Unavailable, "not connected yet"},
		endWatch: func() {},
	}
	p.replicas = append(p.replicas, r)
	p.metrics.counted(1, false)
	p.background.Go(func() { r.watch(ctx) })
}

// retire takes a replica out of the pool. Its connection ends with its last call.
func (p *pool) retire(r *replica) {
	p.replicas = slices.DeleteFunc(p.replicas, func(other *replica) bool { return other == r })
	p.metrics.counted(-1, r.ready)
	r.retired, r.ready = true, false
	r.endRecovery()
	r.endStream()
	r.stop()
	p.closeIfUnused(r)
}

// retireOlder retires the connections that this one takes the place of.
func (p *pool) retireOlder(r *replica) {
	older := p.replicas[:slices.Index(p.replicas, r)]
	for _, other := range slices.Clone(older) {
		if other.address == r.address {
			p.retire(other)
		}
	}
}

func (p *pool) closeIfUnused(r *replica) {
	if r.retired && r.calls == 0 {
		p.background.Go(func() { r.conn.Close() })
	}
}

// take chooses the replica for an attempt of a call that has tried some addresses already: one
// that is ready and untried, or else one that is ready, or else one that is untried, or else any;
// and among those one at which the attempt needs not wait, and the one that was asked least
// recently. The caller must give it back by done. There is none if no address is known.
func (p *pool) take(tried []string) *replica {
	p.mu.Lock()
	defer p.mu.Unlock()
	var best *replica
	var bestRank int
	for _, r := range p.replicas {
		rank := 0
		if !r.ready {
			rank += 4
		}
		if slices.Contains(tried, r.address) {
			rank += 2
		}
		if len(r.slots) == maxInFlight {
			rank++
		}
		if best == nil || rank < bestRank || rank == bestRank && r.lastTurn < best.lastTurn {
			best, bestRank = r, rank
		}
	}
	if best != nil {
		p.turn++
		best.lastTurn = p.turn
		best.calls++
	}
	return best
}

// done says that an attempt has ended.
func (p *pool) done(r *replica) {
	p.mu.Lock()
	defer p.mu.Unlock()
	r.calls--
	p.closeIfUnused(r)
}

// announce tells those who wait that something has changed.
func (p *pool) announce() {
	close(p.changed)
	p.changed = make(chan struct{})
}

// wait waits until the condition holds. The error is that of the context if it ends first.
func (p *pool) wait(ctx context.Context, condition func() bool) error {
	for {
		p.mu.Lock()
		holds, changed := condition(), p.changed
		p.mu.Unlock()
		if holds {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// waitUntilKnown waits until the address of a replica is known, or every lookup has failed.
func (p *pool) waitUntilKnown(ctx context.Context) {
	_ = p.wait(ctx, func() bool { // The call itself sees that its context has ended.
		isPending := func(n *name) bool { return !n.lookedUp }
		return len(p.replicas) > 0 || !slices.ContainsFunc(p.names, isPending)
	})
}

// waitUntilReady waits until a replica is ready, or the pool is closed.
func (p *pool) waitUntilReady(ctx context.Context) error {
	return p.wait(ctx, func() bool { return p.closed || p.readyCount() > 0 })
}

func (p *pool) isClosed() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.closed
}

func (p *pool) readyCount() int {
	count := 0
	for _, r := range p.replicas {
		if r.ready {
			count++
		}
	}
	return count
}

// counts says how many replicas there are, and how many of them are ready.
func (p *pool) counts() (ready, all int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.readyCount(), len(p.replicas)
}

// troubles says why the replicas are not ready, and which names could not be looked up.
func (p *pool) troubles() (troubles []Attempt, lookUps error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, r := range p.replicas {
		if !r.ready {
			troubles = append(troubles, r.trouble)
		}
	}
	for _, n := range p.names {
		lookUps = errors.Join(lookUps, n.err)
	}
	return troubles, lookUps
}

// close ends the connections. No call may be in flight.
func (p *pool) close() {
	p.mu.Lock()
	p.closed = true
	for _, r := range slices.Clone(p.replicas) {
		p.retire(r)
	}
	p.announce()
	p.mu.Unlock()
	p.background.Wait()
}

// sleep reports false if the context ends first.
func sleep(ctx context.Context, duration time.Duration) bool {
	timer := time.NewTimer(duration)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
