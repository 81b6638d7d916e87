// Classifies images with a net that `netc compile --target c` made: Caffe's example of C++, without a library.
#include NET_HEADER  // of the compiled folder: CMakeLists.txt says which net it is

#include <cstdio>
#include <cstdlib>
#include <exception>
#include <string>
#include <vector>

namespace model = NET_NAME;

namespace {

const char USAGE[] = "usage: classification [--weights FILE] [--threads N] [--top N] IMAGE...\n";

struct Asked {
    std::string weights = NET_WEIGHTS;
    int threads = 1, top = 5;
    std::vector<std::string> images;
};

// A number from 1 to 1000, or model::Error.
int number(const std::string &flag, const std::string &text) {
    char *end = nullptr;
    const long value = std::strtol(text.c_str(), &end, 10);
    if (text.empty() || *end || value < 1 || value > 1000)
        throw model::Error(flag + ": a number from 1 to 1000 is wanted, not `" + text + "`");
    return static_cast<int>(value);
}

Asked read(int count, char **arguments) {
    Asked asked;
    for (int i = 1; i < count; i++) {
        const std::string word = arguments[i];
        if (word.compare(0, 2, "--") != 0) {
            asked.images.push_back(word);
            continue;
        }
        if (word != "--weights" && word != "--threads" && word != "--top")
            throw model::Error(word + ": there is no such flag; there are --weights, --threads and --top");
        if (++i == count) throw model::Error(word + ": a value is wanted after it");
        if (word == "--weights")
            asked.weights = arguments[i];
        else
            (word == "--threads" ? asked.threads : asked.top) = number(word, arguments[i]);
    }
    return asked;
}

}  // namespace

int main(int count, char **arguments) {
    try {
        const Asked asked = read(count, arguments);
        if (asked.images.empty()) {
            std::fputs(USAGE, stderr);
            return 2;
        }
        model::Net net(asked.weights, asked.threads);
        for (const std::string &image : asked.images) {
            const auto best = net.classify(image, static_cast<std::size_t>(asked.top));
            std::printf("---------- Prediction for %s ----------\n", image.c_str());
            for (const model::Ranked &one : best)
                std::printf("%.4f - \"%s\"\n", static_cast<double>(one.value), one.label.c_str());
        }
    } catch (const std::exception &error) {
        std::fprintf(stderr, "classification: %s\n", error.what());
        return 2;
    }
    return 0;
}
