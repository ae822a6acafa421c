package keyservice

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"google.golang.org/genproto/googleapis/rpc/code"
	"google.golang.org/grpc/codes"
)

// The attributes are made once, because calls are frequent.
var (
	outcomes  = attributes("outcome", "allowed", "denied", "unavailable", "misused")
	codeNames = attributes("code", slices.Collect(maps.Values(code.Code_name))...)
)

func attributes(key string, values ...string) map[string]metric.MeasurementOption {
	made := map[string]metric.MeasurementOption{}
	for _, value := range values {
		made[value] = metric.WithAttributeSet(attribute.NewSet(attribute.String(key, value)))
	}
	return made
}

// metrics are the instruments of one client.
type metrics struct {
	duration metric.Float64Histogram
	attempts metric.Int64Counter
	replicas metric.Int64UpDownCounter
}

func newMetrics(provider metric.MeterProvider) (*metrics, error) {
	meter := provider.Meter("github.com/tosend/keyservice/clients/go", metric.WithInstrumentationVersion(Version))
	duration, err1 := meter.Float64Histogram("keyservice.client.authorize.duration",
		metric.WithUnit("s"),
		metric.WithDescription("How long an Authorize took, with all its attempts."),
		// The default ones are for milliseconds.
		metric.WithExplicitBucketBoundaries(.0005, .001, .0025, .005, .01, .025, .05, .1, .2, .4, .6, .8, 1))
	attempts, err2 := meter.Int64Counter("keyservice.client.attempts",
		metric.WithDescription("Attempts of all calls, by the code of their answer."))
	replicas, err3 := meter.Int64UpDownCounter("keyservice.client.replicas",
		metric.WithDescription("Replicas that the client knows, by whether they are ready."))
	return &metrics{duration, attempts, replicas}, errors.Join(err1, err2, err3)
}

// authorized records an Authorize, unless its own caller has ended it.
func (m *metrics) authorized(ctx context.Context, took time.Duration, decision Decision, err error) {
	if outcome, ok := outcomes[outcomeOf(decision, err)]; ok {
		m.duration.Record(ctx, took.Seconds(), outcome)
	}
}

func outcomeOf(decision Decision, err error) string {
	switch decision.(type) {
	case Allowed:
		return "allowed"
	case Denied:
		return "denied"
	}
	switch err.(type) {
	case *UnavailableError:
		return "unavailable"
	case *MisusedError:
		return "misused"
	}
	return ""
}

func (m *metrics) attempted(ctx context.Context, code codes.Code) {
	name, ok := codeNames[codeName(code)]
	if !ok {
		name = codeNames[codeName(codes.Unknown)]
	}
	m.attempts.Add(ctx, 1, name)
}

// counted records that there is one more replica (1) or one fewer (-1).
func (m *metrics) counted(change int64, ready bool) {
	m.replicas.Add(context.Background(), change, metric.WithAttributes(attribute.Bool("ready", ready)))
}
