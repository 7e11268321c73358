package service_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/plumb-gitops/plumb/pkg/service"
)

var quiet = slog.New(slog.DiscardHandler)

func untilAsked(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}

func TestRunEndsTogether(t *testing.T) {
	forever := make(chan struct{})
	defer close(forever)
	for sentence, c := range map[string]struct {
		parts []service.Part
		end   bool // whether the context ends by itself
		want  []string
	}{
		"no parts, nothing to do": {},
		"when the context ends": {
			parts: []service.Part{{Name: "a", Run: untilAsked}, {Name: "b", Run: untilAsked}},
			end:   true,
		},
		"when a part fails": {
			parts: []service.Part{{Name: "a", Run: untilAsked}, {Name: "b", Run: func(context.Context) error { return errors.New("no bus") }}},
			want:  []string{"run b: no bus"},
		},
		"when a part ends without being asked": {
			parts: []service.Part{{Name: "a", Run: untilAsked}, {Name: "b", Run: func(context.Context) error { return nil }}},
			want:  []string{"run b: ended by itself"},
		},
		"and names the part that does not end": {
			parts: []service.Part{
				{Name: "a", Run: func(context.Context) error { return errors.New("broken") }},
				{Name: "stuck", Run: func(context.Context) error { <-forever; return nil }},
			},
			want: []string{"run a: broken", "shut down: stuck still running after 50ms"},
		},
		"an error on the way out is no failure": {
			parts: []service.Part{{Name: "a", Run: func(ctx context.Context) error { <-ctx.Done(); return errors.New("drain") }}},
			end:   true,
		},
	} {
		t.Run(sentence, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if c.end {
				cancel()
			}
			err := service.Run(ctx, quiet, 50*time.Millisecond, c.parts...)
			if (err == nil) != (len(c.want) == 0) {
				t.Fatalf("got %v", err)
			}
			for _, w := range c.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("%q is not in %q", w, err)
				}
			}
		})
	}
}
