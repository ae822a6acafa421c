package keyservice

import (
	"context"
	"errors"
	"maps"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/tosend/keyservice/clients/go/keysv1"
)

// openStreams makes a client that asks all questions on streams, of which there is one to each replica.
func openStreams(t *testing.T, options Options, fakes ...*fake) *Client {
	t.Helper()
	client := open(t, options, fakes...)
	client.pool.mu.Lock()
	client.pool.streamThreshold = 1
	client.pool.mu.Unlock()
	for _, f := range fakes {
		repeat(t, "a stream", func() bool { askMany(t, client, len(fakes)); return f.streamed.Load() > 0 })
	}
	for _, f := range fakes {
		f.asked.Store(0)
	}
	return client
}

// askMany asks at the same time, and wants to be allowed.
func askMany(t *testing.T, client *Client, count int) {
	t.Helper()
	var calls sync.WaitGroup
	for range count {
		calls.Go(func() {
			decision, err := client.Authorize(t.Context(), token, "example.com")
			if _, ok := decision.(Allowed); !ok {
				t.Errorf("got %v, %v", decision, err)
			}
		})
	}
	calls.Wait()
}

func TestManyCallsShareAStreamAndFewDoNot(t *testing.T) {
	replica := startFake(t)
	client := open(t, Options{}, replica)
	askMany(t, client, 1)
	askMany(t, client, 1)
	if replica.streams.Load() != 0 {
		t.Error("a stream for one call at a time")
	}
	repeat(t, "questions on a stream", func() bool { askMany(t, client, 50); return replica.streamed.Load() > 100 })
	if replica.streams.Load() != 1 {
		t.Errorf("%d streams", replica.streams.Load())
	}
}

func TestEachAnswerOnAStreamIsThatOfACall(t *testing.T) {
	replica := startFake(t)
	client := openStreams(t, Options{}, replica)
	replica.set(func() { replica.answer = deny(keysv1.Denial_REASON_EXPIRED) })
	decision, err := client.Authorize(t.Context(), token, "example.com")
	if want := (Denied{ReasonExpired, "key_1", "acme"}); err != nil || decision != want {
		t.Errorf("got %v, %v", decision, err)
	}
	replica.set(func() { replica.answer = fail(codes.PermissionDenied) })
	_, err = client.Authorize(t.Context(), token, "example.com")
	var misused *MisusedError
	if !errors.As(err, &misused) || misused.Code != codes.PermissionDenied {
		t.Error(err)
	}
	failures := slices.Collect(maps.Values(noDecisions))
	for _, answer := range append(failures, fail(codes.Unavailable)) {
		replica.asked.Store(0)
		replica.set(func() { replica.answer = answer })
		decision, err = client.Authorize(t.Context(), token, "example.com")
		var unavailable *UnavailableError
		if decision != nil || !errors.As(err, &unavailable) || replica.asked.Load() != 4 {
			t.Errorf("got %v, %v", decision, err)
		}
	}
	if calls := replica.streams.Load(); calls != 1 {
		t.Errorf("%d streams", calls)
	}
}

func TestAStreamThatEndsPutsItsQuestionsToAnotherReplica(t *testing.T) {
	good, ending := startFake(t), startFake(t)
	// It does so at once, and not when the attempt's time is over.
	client := openStreams(t, Options{AttemptTimeout: time.Minute, Deadline: time.Minute}, good, ending)
	ending.set(func() { ending.endsStreams = true })
	askMany(t, client, 50)
	if ending.asked.Load() == 0 {
		t.Error("the ending replica was not asked")
	}
	ending.set(func() { ending.endsStreams = false })
	streamed := ending.streamed.Load()
	repeat(t, "another stream", func() bool { askMany(t, client, 2); return ending.streamed.Load() > streamed })
}

func TestAStreamThatIsNotUsedAnyMoreCostsNoAttempt(t *testing.T) {
	replica := startFake(t)
	client := openStreams(t, Options{Attempts: 1}, replica)
	for range 20 {
		client.pool.mu.Lock()
		if r := client.pool.replicas[0]; r.stream != nil {
			r.stream.retire()
		}
		client.pool.mu.Unlock()
		askMany(t, client, 3)
	}
}

func TestAReplicaThatRefusesStreamsIsAskedByCalls(t *testing.T) {
	replica := startFake(t)
	replica.refusesStreams = true
	client := open(t, Options{}, replica)
	repeat(t, "a refusal", func() bool { askMany(t, client, 50); return replica.streams.Load() > 0 })
	askMany(t, client, 50)
	if replica.streamed.Load() != 0 {
		t.Error("questions on a stream")
	}
}

func TestEachQuestionOnAStreamHasItsOwnTime(t *testing.T) {
	good, hanging := startFake(t), startFake(t)
	client := openStreams(t, Options{}, good, hanging)
	hanging.set(func() { hanging.hangs = true })
	began := time.Now()
	askMany(t, client, 50)
	if took := time.Since(began); took < 200*time.Millisecond {
		t.Errorf("took %v", took)
	}
	hanging.set(func() { hanging.hangs = false })
	streamed := hanging.streamed.Load()
	repeat(t, "another stream", func() bool { askMany(t, client, 2); return hanging.streamed.Load() > streamed+1 })
}

func TestAQuestionOnAStreamEndsWithItsContext(t *testing.T) {
	replica := startFake(t)
	client := openStreams(t, Options{}, replica)
	ctx, cancel := context.WithCancel(t.Context())
	replica.set(func() { replica.hangs, replica.whenAsked = true, cancel })
	if _, err := client.Authorize(ctx, token, "example.com"); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	replica.set(func() { replica.hangs = false })
	askMany(t, client, 10)
	if replica.streams.Load() != 1 {
		t.Errorf("%d streams", replica.streams.Load())
	}
}

func TestANewSecretCountsOnANewStream(t *testing.T) {
	replica := startFake(t)
	file := filepath.Join(t.TempDir(), "secret")
	write(t, file, "tsop_first")
	client := openStreams(t, Options{SecretFile: file}, replica)
	write(t, file, "tsop_second")
	repeat(t, "the second secret", func() bool { askMany(t, client, 1); return replica.lastSecret() == "Bearer tsop_second" })
	repeat(t, "a second stream", func() bool {
		streamed := replica.streamed.Load()
		askMany(t, client, 1)
		return replica.streams.Load() == 2 && replica.streamed.Load() > streamed
	})
	if replica.lastSecret() != "Bearer tsop_second" {
		t.Error("the stream has", replica.lastSecret())
	}
}
