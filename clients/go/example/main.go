// The example is a service that sends emails for those whose token is allowed to.
//
//	go run ./example keys.example.org:50051 /etc/sender/secret
//	curl localhost:8080/v2/emails -H "Authorization: Bearer $TOKEN" -d '{"from": "Ann <ann@mail.example.com>"}'
package main

import (
	"context"
	"encoding/json"
	"errors"
	"log"
	"net/http"
	"net/mail"
	"os"
	"strings"
	"time"

	"google.golang.org/grpc/codes"

	keyservice "github.com/tosend/keyservice/clients/go"
)

func main() {
	if len(os.Args) != 3 {
		log.Fatal("usage: example HOST:PORT SECRET_FILE")
	}
	client, err := keyservice.New(keyservice.Options{Addresses: os.Args[1:2], SecretFile: os.Args[2]})
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := client.WaitUntilReady(ctx); err != nil {
		log.Fatal(err)
	}
	http.HandleFunc("POST /v2/emails", func(w http.ResponseWriter, r *http.Request) { sendEmail(client, w, r) })
	log.Fatal(http.ListenAndServe("localhost:8080", nil))
}

func sendEmail(client *keyservice.Client, w http.ResponseWriter, r *http.Request) {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") || token == "" {
		answer(w, http.StatusUnauthorized, "give your API key as Authorization: Bearer tsend_…")
		return
	}
	var email struct{ From string }
	err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20)).Decode(&email)
	from, fromErr := mail.ParseAddress(email.From)
	if err != nil || fromErr != nil {
		answer(w, http.StatusBadRequest, "the body must be JSON with a from such as ann@mail.example.com")
		return
	}
	domain := from.Address[strings.LastIndex(from.Address, "@")+1:]

	decision, err := client.Authorize(r.Context(), token, domain)
	if err != nil {
		var misused *keyservice.MisusedError
		if errors.As(err, &misused) && misused.Code == codes.InvalidArgument {
			answer(w, http.StatusBadRequest, "the domain of from is not a domain name")
			return
		}
		log.Print(err)
		answer(w, http.StatusServiceUnavailable, "try again later")
		return
	}
	switch decision := decision.(type) {
	case keyservice.Allowed:
		// Send the email here, for decision.AccountID.
		answer(w, http.StatusAccepted, "accepted")
	case keyservice.Denied:
		answer(w, decision.HTTPStatus(), string(decision.Reason))
	}
}

func answer(w http.ResponseWriter, status int, message string) {
	if status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", "Bearer")
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"message": message})
}
