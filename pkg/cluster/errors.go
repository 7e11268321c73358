package cluster

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/plumb-gitops/plumb/pkg/fault"
	"github.com/plumb-gitops/plumb/pkg/object"
)

// What callers branch on; each is wrapped in a classified error.
var (
	// ErrReplaced: the object of that name has another uid, or none is left.
	ErrReplaced = errors.New("the object was replaced by another of the same name")
	// ErrChanged: the object moved on since it was read.
	ErrChanged = errors.New("the object changed since it was read")
	// ErrUnknownKind: no version of the cluster's API serves the kind.
	ErrUnknownKind = errors.New("the cluster does not serve this kind")
)

// action is one request in the words of an error message.
type action struct {
	verb string
	id   object.ID
	as   Identity
}

func (a action) String() string { return a.verb + " " + a.id.Human() }

// classify turns an answer of the API server, or its absence, into a fault:
// the class by status, the message without values (see explain).
func classify(a action, err error) error {
	if err == nil {
		return nil
	}
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		// No answer: the network, the server's end, or our own context.
		return fmt.Errorf("%s: %w", a, err)
	}
	s := status.Status()
	class, wait := classOf(s)
	return &fault.Error{Class: class, After: wait, Err: &apiError{text: a.String() + ": " + explain(a, s), status: s}}
}

// apiError keeps the status for errors.As while its text holds no values.
type apiError struct {
	text   string
	status metav1.Status
}

func (e *apiError) Error() string { return e.text }

// Status makes apierrors.IsConflict and its like work; its message is the safe text.
func (e *apiError) Status() metav1.Status {
	s := e.status
	s.Message, s.Details = e.text, nil
	return s
}

func classOf(s metav1.Status) (fault.Class, time.Duration) {
	if wait := suggested(s); wait > 0 {
		return fault.RetryAfter, wait
	}
	switch {
	case misfit(s):
		return fault.Permanent, 0
	case s.Code == http.StatusTooManyRequests:
		return fault.RetryAfter, time.Second
	case s.Code >= 500, s.Code == http.StatusRequestTimeout, s.Code == http.StatusConflict, s.Code == http.StatusGone:
		return fault.Transient, 0
	case s.Code == http.StatusUnauthorized, s.Code == http.StatusNotFound, terminating(s):
		// Tokens rotate, and a namespace may be made, or be gone, in a moment.
		return fault.Transient, 0
	}
	return fault.Permanent, 0
}

// misfit recognises the 500 that server-side apply answers (as of Kubernetes
// 1.37, without a reason) when a manifest does not fit its schema.
func misfit(s metav1.Status) bool {
	return s.Code == http.StatusInternalServerError &&
		(strings.HasPrefix(s.Message, "failed to create typed patch object") || strings.HasPrefix(s.Message, "failed to convert new object"))
}

func suggested(s metav1.Status) time.Duration {
	if s.Details == nil {
		return 0
	}
	return time.Duration(s.Details.RetryAfterSeconds) * time.Second
}

// terminating tells a namespace on its way out from rights that are missing: both are 403.
func terminating(s metav1.Status) bool {
	if s.Details == nil {
		return false
	}
	for _, cause := range s.Details.Causes {
		if cause.Type == corev1.NamespaceTerminatingCause {
			return true
		}
	}
	return false
}

func hasStatus(err error, code int32) (metav1.Status, bool) {
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		return metav1.Status{}, false
	}
	return status.Status(), status.Status().Code == code
}

// noSuchRoute tells "this kind is not served here" from "there is no such
// object": only the latter is answered by the kind's own handler with its name.
func noSuchRoute(s metav1.Status) bool {
	if s.Details == nil || s.Details.Name == "" {
		return true
	}
	for _, cause := range s.Details.Causes {
		if cause.Type == metav1.CauseTypeUnexpectedServerResponse {
			return true
		}
	}
	return false
}

func isSecret(id object.ID) bool { return id.Group == "" && strings.EqualFold(id.Kind, "Secret") }
