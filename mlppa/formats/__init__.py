"""What the bytes of files mean: headers, packed samples, candidate lists."""
