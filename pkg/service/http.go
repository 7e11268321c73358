package service

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"
)

// Limits of every HTTP listener. A service that streams or takes big bodies
// sets its own deadlines per request with http.ResponseController.
const (
	headerLimit = 5 * time.Second
	idleLimit   = 2 * time.Minute
	headerBytes = 64 << 10
	drainLimit  = 5 * time.Second
)

// Listen opens an address now, so that one in use keeps the program from
// starting. key is where the configuration has it.
func Listen(key, address string) (net.Listener, error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("%s: %w; choose another address or end what uses it", key, err)
	}
	return l, nil
}

// HTTP serves handler on a listener. When asked to end it takes no new
// requests and gives those in flight five seconds.
func HTTP(name string, l net.Listener, handler http.Handler, log *slog.Logger) Part {
	return Part{Name: name, Run: func(ctx context.Context) error {
		server := &http.Server{
			Handler:           handler,
			ReadHeaderTimeout: headerLimit,
			IdleTimeout:       idleLimit,
			MaxHeaderBytes:    headerBytes,
			ErrorLog:          slog.NewLogLogger(log.With("part", name).Handler(), slog.LevelDebug),
			Protocols:         plainProtocols(),
		}
		drained := make(chan struct{})
		stop := context.AfterFunc(ctx, func() { drain(server); close(drained) })
		err := server.Serve(l)
		if !stop() {
			<-drained
		}
		if errors.Is(err, http.ErrServerClosed) {
			return nil
		}
		return err
	}}
}

// plainProtocols are HTTP/1 and, as Connect and gRPC clients speak it without
// TLS, HTTP/2.
func plainProtocols() *http.Protocols {
	p := new(http.Protocols)
	p.SetHTTP1(true)
	p.SetUnencryptedHTTP2(true)
	return p
}

func drain(server *http.Server) {
	ctx, cancel := context.WithTimeout(context.Background(), drainLimit)
	defer cancel()
	if server.Shutdown(ctx) != nil {
		_ = server.Close() // what is still open has had its time
	}
}
