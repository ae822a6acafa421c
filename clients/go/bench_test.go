package keyservice

import (
	"fmt"
	"math"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// BenchmarkAuthorize measures Authorize with so many goroutines at once, by calls alone and with
// streams. It asks replicas that run already, without TLS:
//
//	KEYSERVICE_ADDRESSES=127.0.0.1:50051 KEYSERVICE_TOKEN=tsend_… go test -run '^$' -bench Authorize
//
// The token must be allowed for example.com.
func BenchmarkAuthorize(b *testing.B) {
	addresses := os.Getenv("KEYSERVICE_ADDRESSES")
	if addresses == "" {
		b.Skip("KEYSERVICE_ADDRESSES is not set")
	}
	for _, callers := range []int{1, 4, 16, 64, 256} {
		for way, threshold := range map[string]int{"calls": math.MaxInt, "streams": defaultStreamThreshold} {
			b.Run(fmt.Sprintf("callers=%d/%s", callers, way), func(b *testing.B) {
				client, err := New(Options{Addresses: strings.Split(addresses, ","), Plaintext: true})
				if err != nil {
					b.Fatal(err)
				}
				defer client.Close()
				client.pool.streamThreshold = threshold
				if err := client.WaitUntilReady(b.Context()); err != nil {
					b.Fatal(err)
				}
				var left atomic.Int64
				left.Store(int64(b.N))
				b.ResetTimer()
				var running sync.WaitGroup
				for range callers {
					running.Go(func() {
						for left.Add(-1) >= 0 {
							decision, err := client.Authorize(b.Context(), os.Getenv("KEYSERVICE_TOKEN"), "example.com")
							if _, ok := decision.(Allowed); !ok {
								b.Errorf("got %v, %v", decision, err)
							}
						}
					})
				}
				running.Wait()
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "calls/s")
			})
		}
	}
}
