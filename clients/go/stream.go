package keyservice

import (
	"context"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/tosend/keyservice/clients/go/keysv1"
)

const (
	// A replica is asked on a stream from when it has so many calls in flight. With fewer, a stream
	// is not faster, and the service has a limit on streams.
	defaultStreamThreshold = 4
	// A stream is opened at most once in this time, which is also how long opening may take.
	streamOpenTime = time.Second
	// A stream that nobody has asked on for this time is ended.
	streamIdleTime = 10 * time.Second
	// Questions that wait until they are written, which saves their callers the waiting.
	streamQueue = 128
)

var errStreamRetired = status.Error(codes.Unavailable, "the stream of questions is not used any more")

// stream asks the questions of many calls on one AuthorizeStream.
type stream struct {
	grpc.BidiStreamingClient[keysv1.AuthorizeStreamRequest, keysv1.AuthorizeStreamResponse]
	secret    *string // the one with which it was opened
	cancel    context.CancelFunc
	questions chan *keysv1.AuthorizeStreamRequest
	ended     chan struct{} // is closed after err was set

	mu      sync.Mutex
	lastID  uint64
	waiting map[uint64]chan<- *keysv1.AuthorizeStreamResponse
	retired bool // nobody may ask any more, and it ends when nobody waits
	err     error
}

// authorize asks on the stream if there is one, and otherwise by a call.
func (r *replica) authorize(ctx context.Context, token, domain string) (Decision, error) {
	if s := r.currentStream(); s != nil {
		answer, err := s.ask(ctx, token, domain)
		if err != errStreamRetired {
			return decisionOf(answer), err
		}
	}
	answer, err := r.keys.Authorize(ctx, &keysv1.AuthorizeRequest{Token: token, Domain: domain})
	return decisionOf(answer), err
}

// currentStream returns the stream to ask on. If there is none and many calls are in flight, it
// lets one be opened, for later calls.
func (r *replica) currentStream() *stream {
	secret := r.pool.credentials.secret.value.Load()
	r.pool.mu.Lock()
	defer r.pool.mu.Unlock()
	if r.stream != nil && r.stream.secret != secret {
		r.endStream()
	}
	if r.stream == nil && r.calls >= r.pool.streamThreshold && time.Since(r.streamOpened) > streamOpenTime {
		r.streamOpened = time.Now()
		r.pool.background.Go(func() { r.openStream(secret) })
	}
	return r.stream
}

// endStream is called with the mutex of the pool. Questions that were asked keep their time.
func (r *replica) endStream() {
	if r.stream != nil {
		r.stream.retire()
		r.stream = nil
	}
}

// openStream opens a stream, and serves it until it ends. If the service refuses, as when too many
// streams are open, calls are made instead.
func (r *replica) openStream(secret *string) {
	ctx, cancel := context.WithCancel(r.pool.credentials.authenticate(context.Background()))
	defer cancel()
	limit := time.AfterFunc(streamOpenTime, cancel)
	questions, err := r.keys.AuthorizeStream(ctx)
	if err != nil {
		return
	}
	if header, err := questions.Header(); header == nil || err != nil || !limit.Stop() {
		return
	}
	s := &stream{
		BidiStreamingClient: questions,
		secret:              secret,
		cancel:              cancel,
		questions:           make(chan *keysv1.AuthorizeStreamRequest, streamQueue),
		ended:               make(chan struct{}),
		waiting:             map[uint64]chan<- *keysv1.AuthorizeStreamResponse{},
	}
	r.pool.mu.Lock()
	r.stream = s
	r.pool.mu.Unlock()
	r.pool.background.Go(s.write)
	s.read()
	r.pool.mu.Lock()
	if r.stream == s {
		r.stream = nil
	}
	r.pool.mu.Unlock()
}

// ask asks one question, and waits for its answer until the context or the stream ends.
func (s *stream) ask(ctx context.Context, token, domain string) (*keysv1.AuthorizeStreamResponse, error) {
	answered := make(chan *keysv1.AuthorizeStreamResponse, 1)
	id, ok := s.enter(answered)
	if !ok {
		return nil, errStreamRetired
	}
	defer s.leave(id)
	select {
	case s.questions <- &keysv1.AuthorizeStreamRequest{Id: id, Token: token, Domain: domain}:
	case <-s.ended:
		return nil, errStreamRetired
	case <-ctx.Done():
		return nil, status.FromContextError(ctx.Err()).Err()
	}
	select {
	case answer := <-answered:
		return answer, status.FromProto(answer.GetError()).Err()
	case <-s.ended:
		return nil, status.Error(codes.Unavailable, "the stream ended before the answer: "+s.err.Error())
	case <-ctx.Done():
		return nil, status.FromContextError(ctx.Err()).Err()
	}
}

// enter gives a question its id, unless the stream is retired.
func (s *stream) enter(answered chan<- *keysv1.AuthorizeStreamResponse) (id uint64, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.retired {
		return 0, false
	}
	s.lastID++
	s.waiting[s.lastID] = answered
	return s.lastID, true
}

// leave says that nobody waits for the answer to a question any more.
func (s *stream) leave(id uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.waiting, id)
	s.cancelIfUnused()
}

func (s *stream) retire() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.retired = true
	s.cancelIfUnused()
}

func (s *stream) cancelIfUnused() {
	if s.retired && len(s.waiting) == 0 {
		s.cancel()
	}
}

// write sends the questions until the stream ends.
func (s *stream) write() {
	idle := time.NewTimer(streamIdleTime)
	defer idle.Stop()
	for {
		select {
		case question := <-s.questions:
			if s.Send(question) != nil {
				return // The error is that of the next Recv.
			}
			idle.Reset(streamIdleTime)
		case <-idle.C:
			s.retire()
		case <-s.ended:
			return
		}
	}
}

// read gives the answers to those who wait for them, until the stream ends.
func (s *stream) read() {
	for {
		answer, err := s.Recv()
		s.mu.Lock()
		if err != nil {
			s.retired, s.err = true, err
			s.mu.Unlock()
			close(s.ended)
			return
		}
		answered := s.waiting[answer.GetId()]
		delete(s.waiting, answer.GetId())
		s.mu.Unlock()
		if answered != nil {
			answered <- answer
		}
	}
}
