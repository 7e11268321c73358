// Package slack stands in for Slack: an incoming webhook that takes only what
// Slack would take, and keeps it as text for people. It imports alerttest for the
// rules of Block Kit. What it refuses is kept as well, as an error.
package slack

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/plumb-gitops/plumb/integration/demo/feed"
	"github.com/plumb-gitops/plumb/pkg/alert/alerttest"
)

// Message is one request to the webhook.
type Message struct {
	At      time.Time
	Head    string   // what a notification shows
	Lines   []string // the blocks as text
	Refused error    // why Slack would not have taken it
}

// Server is the webhook.
type Server struct {
	Messages feed.Feed[Message]

	url    string
	path   string // secret
	server *http.Server
}

// Start listens on a free loopback port.
func Start() (*Server, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("start the Slack stand-in: %w", err)
	}
	s := &Server{path: "/services/" + rand.Text()}
	s.url = "http://" + l.Addr().String() + s.path
	s.server = &http.Server{Handler: s, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = s.server.Serve(l) }() // ends with Stop
	return s, nil
}

// URL is that of the incoming webhook, a secret.
func (s *Server) URL() string { return s.url }

// Stop ends the server at once.
func (s *Server) Stop() { _ = s.server.Close() }

// ServeHTTP answers as Slack does.
// https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != s.path {
		http.Error(w, "no_service", http.StatusNotFound)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
	if err != nil {
		http.Error(w, "invalid_payload", http.StatusBadRequest)
		return
	}
	m := Message{At: time.Now()}
	if m.Refused = alerttest.BlockKit(r, body); m.Refused == nil {
		m.Head, m.Lines = read(body)
	}
	s.Messages.Add(m)
	if m.Refused != nil {
		http.Error(w, "invalid_blocks", http.StatusBadRequest)
		return
	}
	fmt.Fprint(w, "ok")
}

type text struct{ Text string }

// read turns a payload that was checked into lines.
func read(body []byte) (head string, lines []string) {
	var p struct {
		Text   string
		Blocks []struct {
			Text             *text
			Fields, Elements []text
		}
	}
	if err := json.Unmarshal(body, &p); err != nil {
		return err.Error(), nil
	}
	for _, b := range p.Blocks {
		if b.Text != nil {
			lines = append(lines, shown(b.Text.Text))
		}
		for _, f := range b.Fields {
			label, value, _ := strings.Cut(shown(f.Text), "\n")
			lines = append(lines, label+": "+value)
		}
		if len(b.Elements) > 0 {
			lines = append(lines, shown(join(b.Elements)))
		}
	}
	return shown(p.Text), lines
}

func join(elements []text) string {
	parts := make([]string, len(elements))
	for i, e := range elements {
		parts[i] = e.Text
	}
	return strings.Join(parts, " · ")
}

// shown is text as Slack shows it, as far as a terminal can.
func shown(s string) string {
	s = strings.NewReplacer("```\n", "", "\n```", "", "`", "", "*", "").Replace(s)
	return strings.NewReplacer("&lt;", "<", "&gt;", ">", "&amp;", "&").Replace(s)
}
