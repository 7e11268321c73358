package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// metric is the sum of a metric of plumb up over its labels; 0 as long as there is none.
func (p *plumb) metric(ctx context.Context, name string) (float64, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.admin+"/metrics", nil)
	if err != nil {
		return 0, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return 0, fmt.Errorf("read metric %s: %s", name, resp.Status)
	}
	return sumOf(resp.Body, name)
}

// sumOf reads the text format of Prometheus.
func sumOf(text io.Reader, name string) (sum float64, err error) {
	lines := bufio.NewScanner(text)
	for lines.Scan() {
		sample, value, _ := strings.Cut(lines.Text(), " ")
		if sample != name && !strings.HasPrefix(sample, name+"{") {
			continue
		}
		one, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return 0, fmt.Errorf("read metric %s: %w", name, err)
		}
		sum += one
	}
	return sum, lines.Err()
}

// until looks at a metric until it has reached a value.
func (p *plumb) until(ctx context.Context, name string, value float64) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	ticker := time.NewTicker(looking)
	defer ticker.Stop()
	for {
		at, err := p.metric(ctx, name)
		if err != nil || at >= value {
			return err
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return fmt.Errorf("metric %s is %v, not %v: %w", name, at, value, ctx.Err())
		}
	}
}
