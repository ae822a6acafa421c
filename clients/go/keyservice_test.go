package keyservice

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/tosend/keyservice/clients/go/keysv1"
)

const token = "tsend_thisisasecretthatnobodymaysee"

func TestAnAllowedTokenTellsItsKeyAccountAndScope(t *testing.T) {
	client := open(t, Options{}, startFake(t))
	decision, err := client.Authorize(t.Context(), token, "example.com")
	if want := (Allowed{"key_1", "acme", Scope{Domain: "example.com"}}); err != nil || decision != want {
		t.Fatalf("got %v, %v, want %v", decision, err, want)
	}
}

func TestADeniedTokenTellsItsReasonKeyAndAccount(t *testing.T) {
	replica := startFake(t)
	client := open(t, Options{}, replica)
	for _, it := range []struct {
		reason keysv1.Denial_Reason
		want   Reason
		status int
	}{
		{keysv1.Denial_REASON_REVOKED, ReasonRevoked, 401},
		{keysv1.Denial_REASON_DOMAIN_NOT_VERIFIED, ReasonDomainNotVerified, 403},
		{99, "99", 403},
		{0, "0", 403},
	} {
		replica.set(func() { replica.answer = deny(it.reason) })
		decision, err := client.Authorize(t.Context(), token, "example.com")
		want := Denied{it.want, "key_1", "acme"}
		if err != nil || decision != want || want.HTTPStatus() != it.status {
			t.Errorf("got %v, %v, want %v and %v", decision, err, want, it.status)
		}
	}
}

func TestAnAnswerWithoutADecisionIsAFailedAttempt(t *testing.T) {
	replica := startFake(t)
	client := open(t, Options{}, replica)
	for name, answer := range noDecisions {
		replica.asked.Store(0)
		replica.set(func() { replica.answer = answer })
		decision, err := client.Authorize(t.Context(), token, "example.com")
		var unavailable *UnavailableError
		if decision != nil || !errors.As(err, &unavailable) || replica.asked.Load() != 4 {
			t.Errorf("%s: got %v, %v after %d attempts", name, decision, err, replica.asked.Load())
		}
	}
}

// noDecisions are answers of careless or false servers.
var noDecisions = map[string]func() (*keysv1.AuthorizeResponse, error){
	"nothing": func() (*keysv1.AuthorizeResponse, error) { return &keysv1.AuthorizeResponse{}, nil },
	"granted without a grant": func() (*keysv1.AuthorizeResponse, error) {
		return &keysv1.AuthorizeResponse{Granted: true}, nil
	},
	"a grant that is not granted": changed(grant, func(answer *keysv1.AuthorizeResponse) { answer.Granted = false }),
	"a denial that is granted": changed(deny(keysv1.Denial_REASON_EXPIRED), func(answer *keysv1.AuthorizeResponse) {
		answer.Granted = true
	}),
	"no scope": changed(grant, func(answer *keysv1.AuthorizeResponse) { answer.GetGrant().Scope = nil }),
	"a scope of no domain": changed(grant, func(answer *keysv1.AuthorizeResponse) {
		answer.GetGrant().Scope = &keysv1.Scope{Kind: &keysv1.Scope_Domain{}}
	}),
}

func changed(answer func() (*keysv1.AuthorizeResponse, error), change func(*keysv1.AuthorizeResponse)) func() (*keysv1.AuthorizeResponse, error) {
	return func() (*keysv1.AuthorizeResponse, error) {
		response, err := answer()
		change(response)
		return response, err
	}
}

func TestTheTextOfOthersIsOneLineWithoutSecrets(t *testing.T) {
	for said, want := range map[string]string{
		"the server's\r\n\town words":               "the server's own words",
		"\x1b[31mred\u009b31m\u202e\u2028\xffend":   "[31mred 31m end",
		"Bearer tsop_0aZ, tsend_0aZ.":               "Bearer tsop_…, tsend_….",
		`unexpected HTTP status; data: "a request"`: "unexpected HTTP status",
		strings.Repeat("é", 10_000):                 strings.Repeat("é", 500) + "…",
	} {
		if shown := oneLine(said); shown != want {
			t.Errorf("%q is shown as %q", said, shown)
		}
	}
}

func TestEachCodeIsFinalOrTriedAgain(t *testing.T) {
	for code := codes.Canceled; code <= codes.Unauthenticated; code++ {
		t.Run(codeName(code), func(t *testing.T) {
			t.Parallel()
			replica := startFake(t)
			client := open(t, Options{}, replica)
			replica.set(func() { replica.answer = fail(code) })
			decision, err := client.Authorize(t.Context(), token, "example.com")

			var misused *MisusedError
			var unavailable *UnavailableError
			if decision != nil || !strings.Contains(err.Error(), codeName(code)) || !strings.Contains(err.Error(), "the server's own words") {
				t.Errorf("got %v, %v", decision, err)
			}
			if code == codes.InvalidArgument || code == codes.Unauthenticated || code == codes.PermissionDenied {
				if !errors.As(err, &misused) || misused.Code != code || replica.asked.Load() != 1 {
					t.Errorf("got %v after %d attempts", err, replica.asked.Load())
				}
			} else if !errors.As(err, &unavailable) || len(unavailable.Attempts) != 4 || replica.asked.Load() != 4 {
				t.Errorf("got %v after %d attempts", err, replica.asked.Load())
			}
		})
	}
}

func TestTextThatIsNoTokenIsAskedAbout(t *testing.T) {
	client := open(t, Options{}, startFake(t))
	for _, text := range []string{"", "\xff\xfe", strings.Repeat("\xffx", 100_000)} {
		if _, err := client.Authorize(t.Context(), text, "example.com"); err != nil {
			t.Error(err)
		}
	}
}

func TestTextThatIsNoDomainIsMisuse(t *testing.T) {
	replica := startFake(t)
	client := open(t, Options{}, replica)
	for _, domain := range []string{"\xff.com", "example.com" + strings.Repeat("\u00ad", 1000)} {
		_, err := client.Authorize(t.Context(), token, domain)
		var misused *MisusedError
		if !errors.As(err, &misused) || misused.Code != codes.InvalidArgument || replica.asked.Load() != 0 {
			t.Errorf("got %v", err)
		}
	}
}

func TestAttemptsGoToDifferentReplicasWhileThereAreAny(t *testing.T) {
	fakes := []*fake{startFake(t), startFake(t), startFake(t)}
	client := open(t, Options{}, fakes...)
	for _, f := range fakes {
		f.set(func() { f.answer = fail(codes.Unavailable) })
	}
	_, err := client.Authorize(t.Context(), token, "example.com")
	var unavailable *UnavailableError
	if !errors.As(err, &unavailable) || len(unavailable.Attempts) != 4 || distinct(addressesOf(unavailable.Attempts[:3])) != 3 {
		t.Fatal(err)
	}
	if strings.Contains(err.Error(), "\n") || errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
}

func TestAReadyReplicaIsAskedAgainRatherThanOneThatIsNot(t *testing.T) {
	fakes := []*fake{startFake(t), startFake(t), startFake(t)}
	client := open(t, Options{}, fakes...)
	for _, f := range fakes {
		f.set(func() { f.answer = fail(codes.Unavailable) })
	}
	for _, f := range fakes[1:] {
		f.set(func() { f.health = healthpb.HealthCheckResponse_NOT_SERVING })
	}
	repeat(t, "two replicas not to be ready", func() bool { ready, _ := client.pool.counts(); return ready == 1 })
	began := time.Now()
	if _, err := client.Authorize(t.Context(), token, "example.com"); err == nil {
		t.Fatal("there was an answer")
	}
	if took := time.Since(began); took < 175*time.Millisecond {
		t.Errorf("a call was made anew after %v", took)
	}
	for i, want := range []int64{4, 0, 0} {
		if got := fakes[i].asked.Load(); got != want {
			t.Errorf("replica %d was asked %d times, want %d", i, got, want)
		}
	}
}

func TestWhereTheConnectionIsRefusedACallEndsAfterItsAttempts(t *testing.T) {
	gone := startFake(t)
	client := open(t, Options{Deadline: time.Minute}, gone)
	gone.server.Stop()
	repeat(t, "the replica not to be ready", func() bool { ready, _ := client.pool.counts(); return ready == 0 })
	began := time.Now()
	_, err := client.Authorize(t.Context(), token, "example.com")
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("it took %v", took)
	}
	if err == nil || strings.Count(err.Error(), gone.address+" UNAVAILABLE") != 1 || !strings.HasSuffix(err.Error(), ", 4 times") {
		t.Error(err)
	}
}

func TestCallsWithAShortDeadlineNoticeThatAReplicaHangs(t *testing.T) {
	hanging := startFake(t)
	client := open(t, Options{}, hanging, startFake(t), startFake(t))
	hanging.set(func() { hanging.hangs = true })
	for range 30 {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		if _, err := client.Authorize(ctx, token, "example.com"); err != nil {
			t.Error(err)
		}
		cancel()
	}
	if asked := hanging.asked.Load(); asked != 1 {
		t.Errorf("the replica was asked %d times", asked)
	}
}

func TestAnAttemptCutShortByTheDeadlineSaysNothingAboutTheReplica(t *testing.T) {
	replica := startFake(t)
	client := open(t, Options{Deadline: 400 * time.Millisecond}, replica)
	replica.set(func() {
		replica.answer = func() (*keysv1.AuthorizeResponse, error) {
			replica.hangs = replica.asked.Load() == 2
			time.Sleep(100 * time.Millisecond)
			return fail(codes.Unavailable)()
		}
	})
	if _, err := client.Authorize(t.Context(), token, "example.com"); err == nil {
		t.Fatal("there was an answer")
	}
	if asked := replica.asked.Load(); asked != 3 {
		t.Errorf("the replica was asked %d times", asked)
	}
	if ready, _ := client.pool.counts(); ready != 1 {
		t.Error("the replica is not ready")
	}
}

func TestAReplicaHasAtMost100AttemptsInFlight(t *testing.T) {
	replica := startFake(t)
	client := open(t, Options{Deadline: 10 * time.Second, AttemptTimeout: 10 * time.Second}, replica)
	client.pool.streamThreshold = 1000
	replica.set(func() { replica.hangs = true })
	var calls sync.WaitGroup
	calls.Go(func() { askMany(t, client, 300) })
	repeat(t, "100 attempts", func() bool { return replica.inFlight.Load() >= 100 })
	replica.set(func() { replica.hangs = false })
	calls.Wait()
	replica.set(func() {
		if replica.mostInFlight != 100 {
			t.Errorf("%d attempts in flight", replica.mostInFlight)
		}
	})
}

func TestNoAttemptsFollow100ThatAServiceHasNotRead(t *testing.T) {
	replica := startFake(t)
	client := open(t, Options{Deadline: 900 * time.Millisecond}, replica)
	client.pool.streamThreshold = 1000
	replica.set(func() { replica.hangs = true })
	var calls sync.WaitGroup
	var crowded atomic.Int64
	for range 300 {
		calls.Go(func() {
			_, err := client.Authorize(t.Context(), token, "example.com")
			if err == nil {
				t.Error("there was an answer")
			} else if strings.Contains(err.Error(), "too many other calls") {
				crowded.Add(1)
			}
		})
	}
	calls.Wait()
	if asked := replica.asked.Load(); asked != 100 || crowded.Load() == 0 {
		t.Errorf("%d attempts, and %d calls had none", asked, crowded.Load())
	}
}

func TestReplicasAreAskedInTurns(t *testing.T) {
	fakes := []*fake{startFake(t), startFake(t), startFake(t)}
	client := open(t, Options{}, fakes...)
	fakes[0].set(func() { fakes[0].health = healthpb.HealthCheckResponse_NOT_SERVING })
	repeat(t, "a replica not to be ready", func() bool { ready, _ := client.pool.counts(); return ready == 2 })
	for range 10 {
		if _, err := client.Authorize(t.Context(), token, "example.com"); err != nil {
			t.Fatal(err)
		}
	}
	for i, want := range []int64{0, 5, 5} {
		if got := fakes[i].asked.Load(); got != want {
			t.Errorf("replica %d was asked %d times, want %d", i, got, want)
		}
	}
}

func TestReplicasThatAreNotReadyAreAskedIfNoneIs(t *testing.T) {
	replica := startFake(t)
	client := open(t, Options{}, replica)
	replica.set(func() { replica.health = healthpb.HealthCheckResponse_NOT_SERVING })
	repeat(t, "the replica not to be ready", func() bool { ready, _ := client.pool.counts(); return ready == 0 })
	if _, err := client.Authorize(t.Context(), token, "example.com"); err != nil {
		t.Fatal(err)
	}
}

func TestAReplicaThatHangsIsAskedOnceUntilItsHealthReturns(t *testing.T) {
	good, hanging := startFake(t), startFake(t)
	// The good replica is not to be taken for a hanging one, however busy this machine is.
	client := open(t, Options{AttemptTimeout: time.Second, Deadline: 10 * time.Second}, good, hanging)
	hanging.set(func() { hanging.hangs = true })
	ask := func() {
		if _, err := client.Authorize(t.Context(), token, "example.com"); err != nil {
			t.Error(err)
		}
	}
	for range 20 {
		ask()
	}
	if asked := hanging.asked.Load(); asked != 1 {
		t.Fatalf("the replica was asked %d times", asked)
	}
	repeat(t, "a second connection", func() bool { return hanging.connections.Load() == 2 })
	hanging.set(func() { hanging.hangs = false })
	repeat(t, "the replica to be asked again", func() bool { ask(); return hanging.asked.Load() > 1 })
	if watches := hanging.watches.Load(); watches != 3 {
		t.Errorf("%d watches, want one, one after the attempt, and one on the second connection", watches)
	}
}

func TestAConnectionThatIsStillBeingMadeIsLeftAlone(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	var connections atomic.Int64
	go func() {
		for {
			conn, err := silent.Accept()
			if err != nil {
				return
			}
			connections.Add(1)
			defer conn.Close()
		}
	}()
	client, err := New(Options{Addresses: []string{silent.Addr().String()}, Plaintext: true})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	for range 3 { // Each takes nearly a second.
		if _, err := client.Authorize(t.Context(), token, "example.com"); err == nil {
			t.Fatal("there was an answer")
		}
	}
	if count := connections.Load(); count != 1 {
		t.Errorf("%d connections", count)
	}
}

func TestTheDeadlineHoldsWhileAllReplicasHang(t *testing.T) {
	fakes := []*fake{startFake(t), startFake(t)}
	client := open(t, Options{Deadline: 300 * time.Millisecond}, fakes...)
	for _, f := range fakes {
		f.set(func() { f.hangs = true })
	}
	for _, limit := range []time.Duration{time.Hour, 50 * time.Millisecond, 0, -time.Second} {
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		defer cancel()
		began := time.Now()
		_, err := client.Authorize(ctx, token, "example.com")
		var unavailable *UnavailableError
		if !errors.As(err, &unavailable) || !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		if late := time.Since(began) - max(0, min(limit, 300*time.Millisecond)); late > 400*time.Millisecond {
			t.Errorf("%v too late: %v", late, err)
		}
	}
}

func TestACancelledCallEndsAtOnceAndIsNotUnavailable(t *testing.T) {
	replica := startFake(t)
	client := open(t, Options{AttemptTimeout: time.Minute, Deadline: time.Minute}, replica)
	ctx, cancel := context.WithCancel(t.Context())
	replica.set(func() { replica.hangs, replica.whenAsked = true, cancel })
	began := time.Now()
	decision, err := client.Authorize(ctx, token, "example.com")
	var unavailable *UnavailableError
	if decision != nil || !errors.Is(err, context.Canceled) || errors.As(err, &unavailable) {
		t.Errorf("got %v, %v", decision, err)
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("took %v", took)
	}
	if ready, _ := client.pool.counts(); ready != 1 {
		t.Error("the replica is not ready, although it was the caller who left")
	}
}

func TestCallsInFlightFinishWhenTheClientIsClosed(t *testing.T) {
	replica := startFake(t)
	client := open(t, Options{AttemptTimeout: time.Minute, Deadline: time.Minute}, replica)
	replica.set(func() { replica.hangs = true })
	result := make(chan error)
	go func() {
		_, err := client.Authorize(t.Context(), token, "example.com")
		result <- err
	}()
	repeat(t, "the question", func() bool { return replica.asked.Load() == 1 })
	closed := make(chan struct{})
	go func() { client.Close(); close(closed) }()
	repeat(t, "Close to begin", func() bool { return !client.begin() || func() bool { client.calls.Done(); return false }() })

	_, err := client.Authorize(t.Context(), token, "example.com")
	var misused *MisusedError
	if !errors.As(err, &misused) || misused.Code != codes.FailedPrecondition {
		t.Errorf("a call after Close: %v", err)
	}
	replica.set(func() { replica.hangs = false })
	if err := <-result; err != nil {
		t.Errorf("a call before Close: %v", err)
	}
	<-closed
	if err := client.WaitUntilReady(t.Context()); !errors.As(err, &misused) {
		t.Errorf("WaitUntilReady after Close: %v", err)
	}
	client.Close()
}

func TestWaitUntilReadySaysWhyNoReplicaIsReady(t *testing.T) {
	replica := startFake(t)
	replica.health = healthpb.HealthCheckResponse_NOT_SERVING
	client, err := New(Options{Addresses: []string{replica.address, "127.0.0.1:1"}, Plaintext: true})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	repeat(t, "both troubles", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		err := client.WaitUntilReady(ctx)
		return strings.Contains(err.Error(), "NOT_SERVING") && strings.Contains(err.Error(), "connection refused") && errors.Is(err, context.DeadlineExceeded)
	})
	replica.set(func() { replica.health = healthpb.HealthCheckResponse_SERVING })
	if err := client.WaitUntilReady(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestANameStandsForAllItsAddresses(t *testing.T) {
	replica := startFake(t)
	client := open(t, Options{}, replica)
	_, port, _ := strings.Cut(replica.address, ":")
	lookup := func(texts ...string) {
		client.pool.lookUpHost = func(context.Context, string, string) (addresses []netip.Addr, err error) {
			for _, text := range texts {
				addresses = append(addresses, netip.MustParseAddr(text))
			}
			return addresses, nil
		}
	}
	client.pool.mu.Lock()
	client.pool.names = []*name{{host: "keys.test", port: port, authority: "keys.test:" + port}}
	client.pool.mu.Unlock()

	lookup("127.0.0.1", "127.0.0.2")
	client.pool.lookUp(t.Context())
	if _, all := client.pool.counts(); all != 2 {
		t.Fatalf("%d replicas", all)
	}
	lookup()
	client.pool.lookUp(t.Context())
	if _, all := client.pool.counts(); all != 2 {
		t.Fatalf("%d replicas after a lookup without an address", all)
	}
	lookup("127.0.0.1")
	client.pool.lookUp(t.Context())
	if _, all := client.pool.counts(); all != 1 {
		t.Fatalf("%d replicas after one is gone", all)
	}
	if _, err := client.Authorize(t.Context(), token, "example.com"); err != nil {
		t.Fatal(err)
	}
}

func TestASecretLeavesThisMachineByNoName(t *testing.T) {
	p := &pool{lookUpHost: func(context.Context, string, string) ([]netip.Addr, error) {
		return []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("10.0.0.1")}, nil
	}}
	if addresses, err := p.addressesOf(t.Context(), &name{host: "localhost"}); err != nil || len(addresses) != 2 {
		t.Error(addresses, err)
	}
	_, err := p.addressesOf(t.Context(), &name{host: "localhost", local: true})
	if err == nil || !strings.Contains(err.Error(), "10.0.0.1") {
		t.Error(err)
	}
}

func TestANameThatIsNotFoundIsInTheError(t *testing.T) {
	client, err := New(Options{Addresses: []string{"keys.invalid:50051"}, Plaintext: true})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if _, err := client.Authorize(t.Context(), token, "example.com"); !strings.Contains(err.Error(), "keys.invalid") {
		t.Fatal(err)
	}
}

func TestANewSecretCountsAndABadFileDoesNot(t *testing.T) {
	replica := startFake(t)
	file := filepath.Join(t.TempDir(), "secret")
	write(t, file, "tsop_first\n")
	var log lockedBuffer
	client := open(t, Options{SecretFile: file, Logger: slog.New(slog.NewTextHandler(&log, nil))}, replica)
	isSent := func(secret string) func() bool {
		return func() bool {
			if _, err := client.Authorize(t.Context(), token, "example.com"); err != nil {
				t.Error(err)
			}
			return replica.lastSecret() == "Bearer "+secret
		}
	}
	repeat(t, "the first secret", isSent("tsop_first"))
	write(t, file, "tsop_bad\r\ntsop_worse\r\n")
	repeat(t, "a warning", func() bool { return strings.Contains(log.String(), file) })
	if !isSent("tsop_first")() {
		t.Error("a bad file has changed the secret")
	}
	if strings.Contains(log.String(), "tsop_") {
		t.Error("the log shows a secret:", log.String())
	}
	write(t, file, "tsop_second")
	repeat(t, "the second secret", isSent("tsop_second"))
	if strings.Count(log.String(), "WARN") != 1 {
		t.Error("the log:", log.String())
	}
}

func TestNewCertificatesMakeNewConnectionsWithoutAFailedCall(t *testing.T) {
	folder := t.TempDir()
	authority := newAuthority(t)
	options := Options{
		CAFile:     authority.write(t, filepath.Join(folder, "ca.pem")),
		CertFile:   filepath.Join(folder, "client.pem"),
		KeyFile:    filepath.Join(folder, "client.key"),
		ServerName: "keys.test",
	}
	authority.issue(t, "first", options.CertFile, options.KeyFile)
	replica := startFakeTLS(t, authority.serverConfig(t, "keys.test"))
	client := open(t, options, replica)
	isKnownAs := func(name string) func() bool {
		return func() bool {
			if _, err := client.Authorize(t.Context(), token, "example.com"); err != nil {
				t.Error(err)
			}
			return replica.lastName() == name
		}
	}
	if !isKnownAs("first")() {
		t.Error("the server knows the client as", replica.lastName())
	}
	// The key does not fit until both files are written, which must not matter.
	authority.issue(t, "second", options.CertFile, options.KeyFile)
	repeat(t, "the second certificate", isKnownAs("second"))
	repeat(t, "the first connection to be retired", func() bool { _, all := client.pool.counts(); return all == 1 })
	if connections := replica.connections.Load(); connections != 2 {
		t.Errorf("%d connections", connections)
	}
}

func TestAServerWithAnotherNameIsNotTrusted(t *testing.T) {
	authority := newAuthority(t)
	replica := startFakeTLS(t, authority.serverConfig(t, "other.test"))
	options := Options{
		Addresses:  []string{replica.address},
		CAFile:     authority.write(t, filepath.Join(t.TempDir(), "ca.pem")),
		ServerName: "keys.test",
	}
	client, err := New(options)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if _, err := client.Authorize(t.Context(), token, "example.com"); !strings.Contains(err.Error(), "other.test") || replica.asked.Load() > 0 {
		t.Error(err)
	}
}

func TestOptionsThatContradictEachOtherAreMisuse(t *testing.T) {
	folder := t.TempDir()
	secret, empty, twoLines := filepath.Join(folder, "secret"), filepath.Join(folder, "empty"), filepath.Join(folder, "two")
	write(t, secret, "tsop_secret")
	write(t, empty, "\n")
	write(t, twoLines, "tsop_one\ntsop_two")
	one := []string{"127.0.0.1:1"}
	for what, options := range map[string]Options{
		"no address":                 {Plaintext: true},
		"no port":                    {Plaintext: true, Addresses: []string{"127.0.0.1"}},
		"no host":                    {Plaintext: true, Addresses: []string{":50051"}},
		"no number":                  {Plaintext: true, Addresses: []string{"localhost:grpc"}},
		"certificate without key":    {Addresses: one, CertFile: secret},
		"key without certificate":    {Addresses: one, KeyFile: secret},
		"plain text with authority":  {Plaintext: true, Addresses: one, CAFile: secret},
		"plain text far away":        {Plaintext: true, Addresses: []string{"keys.test:1"}, SecretFile: secret},
		"negative deadline":          {Plaintext: true, Addresses: one, Deadline: -1},
		"missing file":               {Addresses: one, SecretFile: filepath.Join(folder, "missing")},
		"empty secret":               {Addresses: one, SecretFile: empty},
		"secret with a line break":   {Addresses: one, SecretFile: twoLines},
		"authorities that are none":  {Addresses: one, CAFile: secret},
		"a certificate that is none": {Addresses: one, CertFile: secret, KeyFile: secret},
	} {
		client, err := New(options)
		var misused *MisusedError
		if client != nil || !errors.As(err, &misused) || misused.Code != codes.InvalidArgument || strings.Contains(err.Error(), "tsop_") {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestNothingPrintsASecret(t *testing.T) {
	replica := startFake(t)
	file := filepath.Join(t.TempDir(), "secret")
	write(t, file, "tsop_secret")
	var log lockedBuffer
	handler := slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})
	client := open(t, Options{SecretFile: file, Logger: slog.New(handler)}, replica)
	var shown strings.Builder
	show := func(values ...any) {
		for _, value := range values {
			fmt.Fprintf(&shown, "%v %+v %#v %s %q\n", value, value, value, value, value)
			slog.New(handler).Info("shown", "value", value)
		}
	}
	for _, answer := range []func() (*keysv1.AuthorizeResponse, error){grant, deny(1), fail(codes.Unauthenticated), fail(codes.Internal)} {
		replica.set(func() { replica.answer = answer })
		decision, err := client.Authorize(t.Context(), token, "example.com")
		show(client, client.options, decision, err)
	}
	_, err := client.Authorize(t.Context(), "example.com", token+"\xff")
	show(err)
	for _, text := range []string{shown.String(), log.String()} {
		if strings.Contains(text, "tsop_") || strings.Contains(text, "tsend_") || !strings.Contains(text, replica.address) {
			t.Error(text)
		}
	}
}

func write(t *testing.T, path, contents string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(contents), 0o600); err != nil {
		t.Fatal(err)
	}
}

type lockedBuffer struct {
	mu     sync.Mutex
	buffer bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.String()
}
