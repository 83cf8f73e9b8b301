package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// maxBody is far more than a healthy server sends.
const maxBody = 64 << 10

func get(ctx context.Context, url string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answered %s", url, response.Status)
	}
	return io.ReadAll(io.LimitReader(response.Body, maxBody))
}

// waitUntilHealthy asks /healthz until it answers, or the context ends.
func waitUntilHealthy(ctx context.Context, base string) error {
	for {
		_, err := get(ctx, base+"/healthz")
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the server did not become healthy: %w", err)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// fetch waits for the server and asks it for its facts.
func fetch(ctx context.Context, base string) (facts, error) {
	base = strings.TrimSuffix(base, "/")
	if err := waitUntilHealthy(ctx, base); err != nil {
		return facts{}, err
	}
	body, err := get(ctx, base+"/arch")
	if err != nil {
		return facts{}, err
	}
	var got facts
	if err := json.Unmarshal(body, &got); err != nil {
		return facts{}, fmt.Errorf("%s/arch is not what was expected: %w", base, err)
	}
	if got.Arch == "" {
		return facts{}, fmt.Errorf("%s/arch names no architecture", base)
	}
	return got, nil
}
