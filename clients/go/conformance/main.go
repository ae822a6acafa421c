// The driver lets the conformance suite run the library. DRIVER.md says what it reads and writes.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/genproto/googleapis/rpc/code"

	keyservice "github.com/tosend/keyservice/clients/go"
	"github.com/tosend/keyservice/clients/go/keysv1"
)

// call is a line of the input.
type call struct {
	ID   json.Number `json:"id"`
	Call string      `json:"call"`

	Addresses  []string `json:"addresses"`
	Plaintext  bool     `json:"plaintext"`
	CAFile     string   `json:"ca_file"`
	CertFile   string   `json:"cert_file"`
	KeyFile    string   `json:"key_file"`
	SecretFile string   `json:"secret_file"`
	ServerName string   `json:"server_name"`

	Millis         int     `json:"millis"`
	Token          string  `json:"token"`
	Domain         *string `json:"domain"`
	DeadlineMillis *int    `json:"deadline_millis"`
	AccountID      string  `json:"account_id"`
	Name           string  `json:"name"`
	KeyID          string  `json:"key_id"`
}

// answer is a line of the output, without its id.
type answer = map[string]any

// driver has the library's objects at hand.
type driver struct {
	options    keyservice.Options
	client     *keyservice.Client
	lastAnswer atomic.Pointer[any]
}

func main() {
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<20)
	d := &driver{}
	var output sync.Mutex
	var calls sync.WaitGroup
	write := func(id json.Number, a answer) {
		a["id"] = id
		line, err := json.Marshal(a)
		if err != nil {
			log.Fatal(err)
		}
		output.Lock()
		defer output.Unlock()
		fmt.Printf("%s\n", line)
	}
	for lines.Scan() {
		var c call
		if err := json.Unmarshal(lines.Bytes(), &c); err != nil {
			log.Fatalf("cannot read a line of the input: %v", err)
		}
		switch {
		case c.Call == "open":
			write(c.ID, d.open(&c))
		case d.client == nil:
			log.Fatalf("the client is not open")
		default:
			calls.Go(func() { write(c.ID, d.answer(&c)) })
		}
	}
	if err := lines.Err(); err != nil {
		log.Fatal(err)
	}
	calls.Wait()
	if d.client != nil {
		d.client.Close()
	}
}

func (d *driver) open(c *call) answer {
	d.options = keyservice.Options{
		Addresses:  c.Addresses,
		Plaintext:  c.Plaintext,
		CAFile:     c.CAFile,
		CertFile:   c.CertFile,
		KeyFile:    c.KeyFile,
		SecretFile: c.SecretFile,
		ServerName: c.ServerName,
	}
	client, err := keyservice.New(d.options)
	if err != nil {
		return failure(err)
	}
	d.client = client
	return answer{"opened": true}
}

func (d *driver) answer(c *call) answer {
	a, err := d.run(c)
	if err != nil {
		return failure(err)
	}
	return a
}

func (d *driver) run(c *call) (answer, error) {
	ctx := context.Background()
	switch c.Call {
	case "ready":
		ctx, cancel := context.WithTimeout(ctx, time.Duration(c.Millis)*time.Millisecond)
		defer cancel()
		return answer{"ready": d.client.WaitUntilReady(ctx) == nil}, nil
	case "authorize":
		if c.DeadlineMillis != nil {
			limited, cancel := context.WithTimeout(ctx, time.Duration(*c.DeadlineMillis)*time.Millisecond)
			defer cancel()
			ctx = limited
		}
		decision, err := d.client.Authorize(ctx, c.Token, text(c.Domain))
		d.keep(decision)
		return decided(decision), err
	case "create":
		response, err := d.client.Create(ctx, &keysv1.CreateRequest{AccountId: c.AccountID, Name: c.Name, Domain: c.Domain})
		d.keep(response)
		return answer{"created": answer{"key_id": response.GetKey().GetKeyId(), "token": response.GetToken()}}, err
	case "revoke":
		request := &keysv1.RevokeRequest{Target: &keysv1.RevokeRequest_KeyId{KeyId: c.KeyID}}
		response, err := d.client.Revoke(ctx, request)
		d.keep(response)
		return answer{"revoked": answer{"key_id": response.GetKey().GetKeyId()}}, err
	case "add_domain":
		response, err := d.client.AddDomain(ctx, &keysv1.AddDomainRequest{AccountId: c.AccountID, Domain: text(c.Domain)})
		d.keep(response)
		return answer{"added": true}, err
	case "show":
		var last any
		if kept := d.lastAnswer.Load(); kept != nil {
			last = *kept
		}
		const all = "%v %+v %#v"
		shown := fmt.Sprintf(all, d.client, d.client, d.client) + fmt.Sprintf(all, d.options, d.options, d.options) + fmt.Sprintf(all, last, last, last)
		return answer{"shown": shown}, nil
	}
	return nil, fmt.Errorf("unknown call %q", c.Call)
}

func (d *driver) keep(last any) { d.lastAnswer.Store(&last) }

func decided(decision keyservice.Decision) answer {
	switch decision := decision.(type) {
	case keyservice.Allowed:
		return answer{"allowed": answer{"key_id": decision.KeyID, "account_id": decision.AccountID, "domain": known(decision.Scope.Domain)}}
	case keyservice.Denied:
		return answer{"denied": answer{"reason": decision.Reason, "key_id": known(decision.KeyID), "account_id": known(decision.AccountID)}}
	}
	return nil
}

func failure(err error) answer {
	var (
		unavailable *keyservice.UnavailableError
		misused     *keyservice.MisusedError
		refused     *keyservice.RefusedError
	)
	switch {
	case errors.As(err, &unavailable):
		return answer{"unavailable": err.Error()}
	case errors.As(err, &misused):
		return answer{"misused": err.Error()}
	case errors.As(err, &refused):
		return answer{"refused": answer{"code": code.Code(refused.Code).String(), "message": refused.Message}}
	}
	return answer{"failed": err.Error()}
}

func text(optional *string) string {
	if optional == nil {
		return ""
	}
	return *optional
}

// known is null for what is not known.
func known(text string) any {
	if text == "" {
		return nil
	}
	return text
}
