#include "check.h"
#include "ring.h"

int main(void)
{
    struct ring ring = {0};
    int number = 7;
    CHECK(!ring_take(&ring, &number));
    CHECK(number == 7);
    return 0;
}
