"""The search and number theory below the encodings: binary codes, finite fields, sphere packing, trees."""
