// Package alerttest holds every channel to the same behaviour, and stands in for
// the other side: a server that checks what it is sent as strictly as the real
// one, and fails in every way on demand. For tests and the demo only.
package alerttest

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
)

// Check says what is wrong with a request; nil: it is accepted.
type Check func(r *http.Request, body []byte) error

// Reply answers a request in place of accepting it.
type Reply func(w http.ResponseWriter, r *http.Request)

// Request is one that was accepted.
type Request struct {
	Path   string
	Header http.Header
	Body   []byte
}

// Server accepts what passes its check. Close ends it, hanging requests too.
type Server struct {
	*httptest.Server
	check Check

	mu       sync.Mutex
	next     []Reply
	always   Reply
	requests int
	accepted []Request
	refused  []error
}

// NewServer starts a server on a loopback address.
func NewServer(check Check) *Server {
	s := &Server{check: check}
	s.Server = httptest.NewServer(s)
	return s
}

// Then answers the coming requests with replies, one each, nil accepting, and
// accepts again after.
func (s *Server) Then(replies ...Reply) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.next = append(s.next, replies...)
}

// Always answers every request so; nil: accepts again.
func (s *Server) Always(reply Reply) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.always = reply
}

// Accepted are the requests accepted so far.
func (s *Server) Accepted() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Request(nil), s.accepted...)
}

// Forget forgets what was accepted so far.
func (s *Server) Forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.accepted = nil
}

// Requests counts all that came.
func (s *Server) Requests() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.requests
}

// Refused is what was wrong with requests that did not pass the check.
func (s *Server) Refused() []error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]error(nil), s.refused...)
}

func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if reply := s.take(); reply != nil {
		reply(w, r)
		return
	}
	s.Accept(w, r)
}

// Accept is the reply to what passes the check, and 400 to the rest.
func (s *Server) Accept(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	if err != nil {
		return
	}
	err = s.check(r, body)
	s.note(Request{Path: r.URL.Path, Header: r.Header.Clone(), Body: body}, err)
	if err != nil {
		http.Error(w, "invalid_payload: "+err.Error(), http.StatusBadRequest)
		return
	}
	fmt.Fprint(w, "ok")
}

func (s *Server) note(r Request, refused error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if refused != nil {
		s.refused = append(s.refused, refused)
		return
	}
	s.accepted = append(s.accepted, r)
}

func (s *Server) take() Reply {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests++
	if len(s.next) > 0 {
		reply := s.next[0]
		s.next = s.next[1:]
		return reply
	}
	return s.always
}

// Status answers with a status, headers as pairs of name and value.
func Status(code int, headers ...string) Reply {
	return func(w http.ResponseWriter, r *http.Request) {
		for i := 0; i+1 < len(headers); i += 2 {
			w.Header().Set(headers[i], headers[i+1])
		}
		w.WriteHeader(code)
		fmt.Fprintf(w, "no %s", r.URL.Path) // as a careless server would
	}
}

// Hang answers nothing until the client goes away.
func Hang(_ http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body) // or the server does not see it go
	<-r.Context().Done()
}

// Cut closes the connection without an answer.
func Cut(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

// Flood accepts, and never stops saying so.
func Flood(w http.ResponseWriter, r *http.Request) {
	for r.Context().Err() == nil {
		if _, err := io.WriteString(w, strings.Repeat("ok ", 10_000)); err != nil {
			return
		}
	}
}
