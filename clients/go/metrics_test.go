package keyservice

import (
	"context"
	"maps"
	"sync"
	"testing"

	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"
	"google.golang.org/grpc/codes"

	"github.com/tosend/keyservice/clients/go/keysv1"
)

// recorder is a MeterProvider that keeps sums, and for the histogram counts, by metric and attribute.
type recorder struct {
	noop.MeterProvider
	mu   sync.Mutex
	sums map[string]int64
}

func (r *recorder) Meter(string, ...metric.MeterOption) metric.Meter { return &recorderMeter{r: r} }

type recorderMeter struct {
	noop.Meter
	r *recorder
}

func (m *recorderMeter) Float64Histogram(name string, _ ...metric.Float64HistogramOption) (metric.Float64Histogram, error) {
	return &recordedHistogram{r: m.r, name: name}, nil
}

func (m *recorderMeter) Int64Counter(name string, _ ...metric.Int64CounterOption) (metric.Int64Counter, error) {
	return &recordedCounter{r: m.r, name: name}, nil
}

func (m *recorderMeter) Int64UpDownCounter(name string, _ ...metric.Int64UpDownCounterOption) (metric.Int64UpDownCounter, error) {
	return &recordedUpDownCounter{r: m.r, name: name}, nil
}

func (r *recorder) add(name string, value int64, options []metric.AddOption) {
	r.mu.Lock()
	defer r.mu.Unlock()
	attributes := metric.NewAddConfig(options).Attributes()
	for _, attribute := range attributes.ToSlice() {
		r.sums[name+" "+string(attribute.Key)+"="+attribute.Value.Emit()] += value
	}
}

type recordedHistogram struct {
	noop.Float64Histogram
	r    *recorder
	name string
}

func (h *recordedHistogram) Record(_ context.Context, seconds float64, options ...metric.RecordOption) {
	h.r.mu.Lock()
	defer h.r.mu.Unlock()
	attributes := metric.NewRecordConfig(options).Attributes()
	outcome, _ := attributes.Value("outcome")
	if seconds > 0 && seconds < 10 {
		h.r.sums[h.name+" outcome="+outcome.Emit()]++
	}
}

type recordedCounter struct {
	noop.Int64Counter
	r    *recorder
	name string
}

func (c *recordedCounter) Add(_ context.Context, value int64, options ...metric.AddOption) {
	c.r.add(c.name, value, options)
}

type recordedUpDownCounter struct {
	noop.Int64UpDownCounter
	r    *recorder
	name string
}

func (c *recordedUpDownCounter) Add(_ context.Context, value int64, options ...metric.AddOption) {
	c.r.add(c.name, value, options)
}

func TestMetricsCountOutcomesAttemptsAndReplicas(t *testing.T) {
	measured := &recorder{sums: map[string]int64{}}
	replica := startFake(t)
	client := open(t, Options{MeterProvider: measured}, replica)
	for _, answer := range []func() (*keysv1.AuthorizeResponse, error){grant, deny(1), fail(codes.PermissionDenied), fail(codes.Internal)} {
		replica.set(func() { replica.answer = answer })
		_, _ = client.Authorize(t.Context(), token, "example.com")
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	_, _ = client.Authorize(cancelled, token, "example.com")

	want := map[string]int64{
		"keyservice.client.authorize.duration outcome=allowed":     1,
		"keyservice.client.authorize.duration outcome=denied":      1,
		"keyservice.client.authorize.duration outcome=misused":     1,
		"keyservice.client.authorize.duration outcome=unavailable": 1,
		"keyservice.client.attempts code=OK":                       2,
		"keyservice.client.attempts code=PERMISSION_DENIED":        1,
		"keyservice.client.attempts code=INTERNAL":                 4,
		"keyservice.client.replicas ready=true":                    1,
		"keyservice.client.replicas ready=false":                   0,
	}
	measured.mu.Lock()
	defer measured.mu.Unlock()
	if !maps.Equal(measured.sums, want) {
		t.Errorf("got %v, want %v", measured.sums, want)
	}
}
