// Package fault classifies errors: what a failure means for the work that hit it.
//
// Steps classify, and one place (bus, reconcile) turns the class into a consequence.
// It imports the standard library only and nothing here fails.
package fault

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// Class says what may be done about an error.
type Class int

const (
	// Transient errors go away by trying again with backoff. It is the zero value:
	// an error that nobody classified must not lose work.
	Transient Class = iota
	// RetryAfter errors name the moment before which trying again is useless.
	RetryAfter
	// Permanent errors stay until the input changes.
	Permanent
)

func (c Class) String() string {
	return [...]string{"transient", "retry-after", "permanent"}[c]
}

// Reason is the CamelCase word of the Ready condition. This is the one list.
type Reason string

// Reasons of the Ready condition, from the Application API.
const (
	Succeeded          Reason = "Succeeded"
	Progressing        Reason = "Progressing"
	SourceRefused      Reason = "SourceRefused"
	FetchFailed        Reason = "FetchFailed"
	RenderFailed       Reason = "RenderFailed"
	ApplyFailed        Reason = "ApplyFailed"
	PruneBlocked       Reason = "PruneBlocked"
	HealthFailed       Reason = "HealthFailed"
	HealthTimeout      Reason = "HealthTimeout"
	DependencyNotReady Reason = "DependencyNotReady"
	WindowClosed       Reason = "WindowClosed"
	ChecksPending      Reason = "ChecksPending"
	ChecksFailed       Reason = "ChecksFailed"
	Suspended          Reason = "Suspended"
	OwnershipConflict  Reason = "OwnershipConflict"
	AccountMissing     Reason = "AccountMissing"
	GenerateFailed     Reason = "GenerateFailed" // of an ApplicationSet
)

// Place is where bad input stands. Empty parts are left out.
type Place struct {
	File   string
	Line   int    // from 1
	Object string // <kind> <namespace>/<name>
	Field  string // a path as in spec.replicas
}

func (p Place) String() string {
	var parts []string
	switch {
	case p.File != "" && p.Line > 0:
		parts = append(parts, fmt.Sprintf("%s:%d", p.File, p.Line))
	case p.File != "":
		parts = append(parts, p.File)
	}
	for _, s := range []string{p.Object, p.Field} {
		if s != "" {
			parts = append(parts, s)
		}
	}
	return strings.Join(parts, ": ")
}

// Error is an error with its consequence.
type Error struct {
	Class  Class
	Reason Reason
	After  time.Duration // with RetryAfter: how long to wait
	Place  Place
	Err    error
}

func (e *Error) Error() string {
	if place := e.Place.String(); place != "" {
		return place + ": " + e.Err.Error()
	}
	return e.Err.Error()
}

func (e *Error) Unwrap() error { return e.Err }

// Refuse returns a permanent error for the given reason.
func Refuse(reason Reason, place Place, format string, args ...any) error {
	return &Error{Class: Permanent, Reason: reason, Place: place, Err: fmt.Errorf(format, args...)}
}

// Retry returns a transient error for the given reason.
func Retry(reason Reason, format string, args ...any) error {
	return &Error{Class: Transient, Reason: reason, Err: fmt.Errorf(format, args...)}
}

// After returns an error that asks for another try no sooner than wait.
func After(reason Reason, wait time.Duration, format string, args ...any) error {
	return &Error{Class: RetryAfter, Reason: reason, After: wait, Err: fmt.Errorf(format, args...)}
}

// As gives err the reason where it carries none yet, and keeps its class.
func As(reason Reason, err error) error {
	if err == nil || ReasonOf(err) != "" {
		return err
	}
	class, wait := ClassOf(err)
	return &Error{Class: class, Reason: reason, After: wait, Err: err}
}

// ClassOf returns the class of the outermost classified error in err's chain,
// and with RetryAfter the time to wait.
func ClassOf(err error) (Class, time.Duration) {
	var e *Error
	if errors.As(err, &e) {
		return e.Class, e.After
	}
	return Transient, 0
}

// ReasonOf returns the first reason in err's chain; empty when there is none.
func ReasonOf(err error) Reason {
	for err != nil {
		var e *Error
		if !errors.As(err, &e) {
			return ""
		}
		if e.Reason != "" {
			return e.Reason
		}
		err = e.Err
	}
	return ""
}
