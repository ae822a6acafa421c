package keyservice

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/tosend/keyservice/clients/go/keysv1"
)

func TestARetryOfCreateHasTheSameRequestID(t *testing.T) {
	replica := startFake(t)
	client := open(t, Options{}, replica)
	var ids []string
	replica.create = func(request *keysv1.CreateRequest) (*keysv1.CreateResponse, error) {
		if ids = append(ids, request.GetRequestId()); len(ids)%2 == 1 {
			return nil, status.Error(codes.Unavailable, "the answer is lost")
		}
		return &keysv1.CreateResponse{Token: token}, nil
	}
	request := &keysv1.CreateRequest{AccountId: "acme"}
	for range 2 {
		response, err := client.Create(t.Context(), request)
		if err != nil || response.GetToken() != token {
			t.Fatal(response, err)
		}
	}
	if ids[0] == "" || ids[0] != ids[1] || ids[1] == ids[2] || ids[2] != ids[3] {
		t.Errorf("request ids: %q", ids)
	}
	if request.RequestId != nil {
		t.Error("the caller's request was changed")
	}
	request.RequestId = proto.String("mine")
	if _, err := client.Create(t.Context(), request); err != nil || ids[4] != "mine" {
		t.Errorf("%v; request ids: %q", err, ids)
	}
}

func TestARefusalTellsItsReasonAndResource(t *testing.T) {
	replica := startFake(t)
	client := open(t, Options{}, replica)
	replica.create = func(*keysv1.CreateRequest) (*keysv1.CreateResponse, error) {
		refusal, err := status.New(codes.AlreadyExists, "the request_id was used").WithDetails(
			&errdetails.ErrorInfo{Reason: "USED"}, &errdetails.ResourceInfo{ResourceName: "key_1"})
		if err != nil {
			t.Error(err)
		}
		return nil, refusal.Err()
	}
	_, err := client.Create(t.Context(), nil)
	var refused *RefusedError
	want := RefusedError{codes.AlreadyExists, "the request_id was used", "USED", "key_1"}
	if !errors.As(err, &refused) || *refused != want || replica.asked.Load() != 1 {
		t.Fatal(err)
	}
}

func TestEachCodeOfAnAdminCallIsFinalOrTriedAgain(t *testing.T) {
	for code := codes.Canceled; code <= codes.Unauthenticated; code++ {
		t.Run(codeName(code), func(t *testing.T) {
			t.Parallel()
			replica := startFake(t)
			client := open(t, Options{}, replica)
			replica.create = func(*keysv1.CreateRequest) (*keysv1.CreateResponse, error) { return nil, status.Error(code, "no") }
			_, err := client.Create(t.Context(), &keysv1.CreateRequest{})
			attempts := int64(1)
			var want error
			switch code {
			case codes.InvalidArgument, codes.Unauthenticated, codes.PermissionDenied:
				want = &MisusedError{}
			case codes.Unavailable, codes.DeadlineExceeded, codes.Internal, codes.Unknown, codes.Canceled, codes.ResourceExhausted:
				want = &UnavailableError{}
				attempts = 4
			default:
				want = &RefusedError{}
			}
			if !isOfType(err, want) || replica.asked.Load() != attempts {
				t.Errorf("got %v after %d attempts", err, replica.asked.Load())
			}
		})
	}
}

func TestAnAdminCallWaitsForALoneReplicaThatRestarts(t *testing.T) {
	replica := startFake(t)
	client := open(t, Options{}, replica)
	var isBack atomic.Bool
	replica.create = func(*keysv1.CreateRequest) (*keysv1.CreateResponse, error) {
		if !isBack.Load() {
			return nil, status.Error(codes.Unavailable, "not yet")
		}
		return &keysv1.CreateResponse{}, nil
	}
	replica.set(func() { replica.health = healthpb.HealthCheckResponse_NOT_SERVING })
	repeat(t, "the replica not to be ready", func() bool { ready, _ := client.pool.counts(); return ready == 0 })
	restart := time.AfterFunc(500*time.Millisecond, func() {
		isBack.Store(true)
		replica.set(func() { replica.health = healthpb.HealthCheckResponse_SERVING })
	})
	defer restart.Stop()
	if _, err := client.Create(t.Context(), &keysv1.CreateRequest{}); err != nil {
		t.Error(err)
	}
}

func isOfType(err, kind error) bool {
	switch kind.(type) {
	case *MisusedError:
		_, ok := err.(*MisusedError)
		return ok
	case *UnavailableError:
		_, ok := err.(*UnavailableError)
		return ok
	}
	_, ok := err.(*RefusedError)
	return ok
}

func TestAnUpdateWithAnEtagIsNotRepeatedOnceItMayHaveBeenMade(t *testing.T) {
	for _, example := range []struct {
		etag     *string
		code     codes.Code
		attempts int64
	}{
		{nil, codes.Unavailable, 4},
		{proto.String("etag"), codes.Unavailable, 1},
		{proto.String("etag"), codes.Internal, 1},
		{proto.String("etag"), codes.ResourceExhausted, 4},
	} {
		replica := startFake(t)
		client := open(t, Options{}, replica)
		replica.update = func() (*keysv1.UpdateResponse, error) { return nil, status.Error(example.code, "no") }
		_, err := client.Update(t.Context(), &keysv1.UpdateRequest{KeyId: "key_1", Etag: example.etag})
		var unavailable *UnavailableError
		if !errors.As(err, &unavailable) || replica.asked.Load() != example.attempts {
			t.Errorf("%v: %v after %d attempts", example, err, replica.asked.Load())
		}
	}
}

func TestARequestThatCannotBeEncodedIsMisuse(t *testing.T) {
	client := open(t, Options{}, startFake(t))
	_, err := client.ListDomains(context.Background(), &keysv1.ListDomainsRequest{AccountId: "\xff"})
	var misused *MisusedError
	if !errors.As(err, &misused) {
		t.Error(err)
	}
}
