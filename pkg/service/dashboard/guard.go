package dashboard

import (
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"
)

// maxRequest is the largest body in bytes; every request is one small message.
const maxRequest = 64 << 10

// authenticated lets requests with the token through and answers 401 to all
// others, whatever they ask for.
func (d *Dashboard) authenticated(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		sum := sha256.Sum256([]byte(token))
		if subtle.ConstantTimeCompare(sum[:], d.token[:]) == 1 && strings.EqualFold(scheme, "Bearer") {
			next.ServeHTTP(w, r)
			return
		}
		w.Header().Set("WWW-Authenticate", "Bearer")
		refuse(w, http.StatusUnauthorized, "unauthenticated", "the token is missing or wrong; it is in the file token of the data directory")
	})
}

// refuse answers with an error in Connect's form (protocol reference, "Error end-stream").
func refuse(w http.ResponseWriter, status int, code, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	fmt.Fprintf(w, `{"code":%q,"message":%q}`+"\n", code, message)
}

// limited reads the whole request within its time and size before anything is
// done for it, and gives each write its own time: a stream may last, a client
// that does not read may not.
func (d *Dashboard) limited(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		control := http.NewResponseController(w)
		// A writer without deadlines is a test's recorder.
		_ = control.SetReadDeadline(time.Now().Add(d.o.Read))
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxRequest))
		var tooLarge *http.MaxBytesError
		switch {
		case errors.As(err, &tooLarge):
			refuse(w, http.StatusRequestEntityTooLarge, "resource_exhausted", "the request is too large")
			return
		case errors.Is(err, os.ErrDeadlineExceeded):
			refuse(w, http.StatusRequestTimeout, "deadline_exceeded", "the request came too slowly")
			return
		case err != nil:
			return // the client is gone
		}
		_ = control.SetReadDeadline(time.Time{})
		r.Body = io.NopCloser(bytes.NewReader(body))
		next.ServeHTTP(&timedWriter{ResponseWriter: w, control: control, each: d.o.Write}, r)
	})
}

// timedWriter moves the deadline before each write.
type timedWriter struct {
	http.ResponseWriter
	control *http.ResponseController
	each    time.Duration
}

func (w *timedWriter) Write(b []byte) (int, error) {
	_ = w.control.SetWriteDeadline(time.Now().Add(w.each))
	return w.ResponseWriter.Write(b)
}

func (w *timedWriter) Flush() { _ = w.control.Flush() }

func (w *timedWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
