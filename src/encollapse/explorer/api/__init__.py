"""What answers the browser: routes, one request at a time for each page, and who may ask."""
