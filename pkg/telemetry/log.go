package telemetry

import (
	"context"
	"fmt"
	"io"
	"log/slog"
)

// Logger writes lines as text or json from a level on (debug, info, warn,
// error). Lines logged with a context carry its trace id as "trace".
func Logger(w io.Writer, format, level string) (*slog.Logger, error) {
	var from slog.Level
	if err := from.UnmarshalText([]byte(level)); err != nil {
		return nil, fmt.Errorf("log level %q is not known; use debug, info, warn or error", level)
	}
	o := &slog.HandlerOptions{Level: from}
	switch format {
	case "text":
		return slog.New(traced{slog.NewTextHandler(w, o)}), nil
	case "json":
		return slog.New(traced{slog.NewJSONHandler(w, o)}), nil
	}
	return nil, fmt.Errorf("log format %q is not known; use text or json", format)
}

// traced adds the trace id of the context to each line.
type traced struct{ slog.Handler }

func (h traced) Handle(ctx context.Context, r slog.Record) error {
	if id := TraceID(ctx); id != "" {
		r = r.Clone()
		r.AddAttrs(slog.String("trace", id))
	}
	return h.Handler.Handle(ctx, r)
}

func (h traced) WithAttrs(attrs []slog.Attr) slog.Handler { return traced{h.Handler.WithAttrs(attrs)} }

func (h traced) WithGroup(name string) slog.Handler { return traced{h.Handler.WithGroup(name)} }
