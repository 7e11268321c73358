package receiver

import (
	"encoding/json"
	"net/http"
	"strconv"
	"time"
)

// outcome is what became of a delivery, the label of the metric.
type outcome string

const (
	accepted    outcome = "accepted"
	ignored     outcome = "ignored"
	misaddress  outcome = "misaddressed"
	unauthentic outcome = "unauthentic"
	tooLarge    outcome = "too_large"
	tooSlow     outcome = "too_slow"
	cutShort    outcome = "cut_short"
	unsupported outcome = "unsupported"
	malformed   outcome = "malformed"
	busy        outcome = "busy"
	unpublished outcome = "unpublished"
	panicked    outcome = "panicked"
)

var statuses = map[outcome]int{
	accepted: http.StatusAccepted, ignored: http.StatusOK, misaddress: http.StatusNotFound,
	unauthentic: http.StatusUnauthorized, tooLarge: http.StatusRequestEntityTooLarge,
	tooSlow: http.StatusRequestTimeout, cutShort: http.StatusBadRequest,
	unsupported: http.StatusUnsupportedMediaType, malformed: http.StatusUnprocessableEntity,
	busy: http.StatusServiceUnavailable, unpublished: http.StatusServiceUnavailable,
	panicked: http.StatusInternalServerError,
}

// answer is what the sender gets to read.
type answer struct {
	outcome outcome
	status  int // 0: that of the outcome
	reason  string
	events  []string
	trace   string
	wait    time.Duration // Retry-After
	hangUp  bool          // the body was not read to its end
}

func (a answer) body() []byte {
	var shown any
	switch a.outcome {
	case accepted, ignored:
		shown = struct {
			Events []string `json:"events"`
			Trace  string   `json:"trace,omitempty"`
			Reason string   `json:"reason,omitempty"`
		}{append([]string{}, a.events...), a.trace, a.reason}
	default:
		shown = struct {
			Reason string `json:"reason"`
		}{a.reason}
	}
	line, err := json.Marshal(shown)
	if err != nil { // strings always marshal
		return nil
	}
	return append(line, '\n')
}

func (a answer) write(w http.ResponseWriter) {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("X-Content-Type-Options", "nosniff")
	if a.wait > 0 {
		seconds := int64((a.wait + time.Second - 1) / time.Second)
		h.Set("Retry-After", strconv.FormatInt(seconds, 10))
	}
	if a.hangUp {
		h.Set("Connection", "close")
	}
	status := a.status
	if status == 0 {
		status = statuses[a.outcome]
	}
	if status == http.StatusMethodNotAllowed {
		h.Set("Allow", http.MethodPost)
	}
	w.WriteHeader(status)
	_, _ = w.Write(a.body()) // a sender that is gone will send again
}
