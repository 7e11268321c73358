package main

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// stored is a message as the receiver publishes it, so that the floor stores no less.
type stored struct {
	Subject string
	Header  nats.Header
	Data    []byte
}

// eventID is the header that differs from message to message, beside that of NATS.
const eventID = "ce-id"

// newest reads the last message of the stream of events.
func newest(ctx context.Context, js jetstream.JetStream) (stored, error) {
	stream, err := js.Stream(ctx, "PLUMB_EVENTS")
	if err != nil {
		return stored{}, err
	}
	m, err := stream.GetMsg(ctx, stream.CachedInfo().State.LastSeq)
	if err != nil {
		return stored{}, err
	}
	return stored{Subject: m.Subject, Header: m.Header, Data: m.Data}, nil
}

// as is the message with an id of its own.
func (s stored) as(delivery string) *nats.Msg {
	m := &nats.Msg{Subject: s.Subject, Header: make(nats.Header, len(s.Header)), Data: s.Data}
	for name, values := range s.Header {
		m.Header[name] = values
	}
	id := []string{"bench/" + delivery + "/0"}
	m.Header[eventID], m.Header[jetstream.MsgIDHeader] = id, id
	return m
}

// publish publishes the like of it, width of them in flight.
func (s stored) publish(ctx context.Context, js jetstream.JetStream, span time.Duration) (tally, error) {
	return saturate(ctx, span, func(int) error {
		id := make([]byte, idLength)
		writeID(id)
		_, err := js.PublishMsg(ctx, s.as(string(id)))
		return err
	})
}

func connect(url string) (*nats.Conn, jetstream.JetStream, error) {
	nc, err := nats.Connect(url)
	if err != nil {
		return nil, nil, err
	}
	js, err := jetstream.New(nc)
	return nc, js, err
}

// bareReceiver is the argument that makes this program a bare receiver: a process of its
// own, as Plumb's is.
const bareReceiver = "bare-receiver"

// serveBare answers webhooks with a handler that does what none can do without: it reads
// the body, checks the HMAC, publishes, and answers after the confirmation.
func serveBare(ctx context.Context, args []string) error {
	if len(args) != 3 {
		return fmt.Errorf("usage: bench %s ADDRESS NATS-URL MESSAGE-FILE", bareReceiver)
	}
	text, err := os.ReadFile(args[2])
	if err != nil {
		return err
	}
	var s stored
	if err := json.Unmarshal(text, &s); err != nil {
		return err
	}
	nc, js, err := connect(args[1])
	if err != nil {
		return err
	}
	defer nc.Close()
	listener, err := net.Listen("tcp", args[0])
	if err != nil {
		return err
	}
	server := &http.Server{Handler: bare{s, js}}
	context.AfterFunc(ctx, func() { _ = server.Close() })
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

type bare struct {
	stored
	js jetstream.JetStream
}

func (b bare) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	body, err := io.ReadAll(q.Body)
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write(body)
	given, err := hex.DecodeString(strings.TrimPrefix(q.Header.Get("X-Hub-Signature-256"), "sha256="))
	if err != nil || !hmac.Equal(given, mac.Sum(nil)) {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	if _, err := b.js.PublishMsg(q.Context(), b.as(q.Header.Get("X-GitHub-Delivery"))); err != nil {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	w.WriteHeader(http.StatusAccepted)
}
